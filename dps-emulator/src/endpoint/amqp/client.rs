//! The links and the requests of a client.

use std::pin::pin;

use dps_amqp::{Body, Error, LinkId, Message, Property, Request, Role, Server};
use dps_types::protocol::ApiVersion;
use dps_types::protocol::amqp::{
    API_VERSION, Address, OPERATION_ID, OPERATION_TYPE, Operation, RETRY_AFTER, RETRY_AFTER_CSHARP,
};
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::answer::Answer;
use super::super::device::answer::{self, DeviceCall, Outcome};
use super::super::{Caller, Gateway};
use super::login::Login;
use super::refusal;
use crate::attest::Presented;
use crate::instances::Instances;
use crate::service_error::ServiceError;

/// A connected client.
pub(super) struct Client<'a> {
    instances: &'a Instances,
    /// The first instance, for the log and for refusals that are about no instance.
    gateway: &'a Gateway,
    caller: Caller<'a>,
    login: Login,
    links: Vec<AcceptedLink>,
}

/// A link that the client attached.
pub(super) struct Link {
    pub(super) link: LinkId,
    pub(super) role: Role,
    pub(super) address: Option<String>,
    pub(super) properties: Vec<(String, String)>,
}

struct AcceptedLink {
    link: LinkId,
    role: Role,
    address: Address,
    api_version: ApiVersion,
}

/// The next step after an event.
pub(super) enum Next {
    Continue,
    /// Closes the connection without an answer, as a fault requires.
    Cut,
}

impl<'a> Client<'a> {
    pub(super) fn new(instances: &'a Instances, caller: Caller<'a>, login: Login) -> Self {
        Self {
            instances,
            gateway: instances.first(),
            caller,
            login,
            links: Vec::new(),
        }
    }

    /// Accepts a link at the address of a device. Each request verifies the proof: Microsoft's Node SDK reads the reason of a rejected
    /// request, and waits without an end when a link is refused.
    pub(super) async fn attached<S>(
        &mut self,
        server: &mut Server<S>,
        link: Link,
    ) -> Result<Next, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.check(&link).await {
            Ok(accepted) => {
                server.accept_link(link.link)?;
                self.links.push(accepted);
            }
            Err(error) => {
                let outcome =
                    answer::refused(self.gateway, self.caller, link.address.as_deref(), &error);
                if let Outcome::Reply(answer) = outcome {
                    server.refuse_link(link.link, refusal(&answer))?;
                }
            }
        }
        Ok(Next::Continue)
    }

    async fn check(&self, link: &Link) -> Result<AcceptedLink, ServiceError> {
        let text = link.address.as_deref().unwrap_or_default();
        let address: Address = text.parse().map_err(|error| {
            let what = "AMQP at a hub: its hubs have MQTT only, and a link to DPS has the address idScope/registrations/registrationId";
            ServiceError::not_implemented(what)
                .with_reason(format!("a link has the address '{text}': {error}"))
        })?;
        let version = link
            .properties
            .iter()
            .find(|(name, _)| name == API_VERSION)
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| {
                ServiceError::invalid(format!("the link property {API_VERSION} is missing"))
            })?;
        let api_version: ApiVersion = version.parse()?;
        let gateway = self.instances.for_device(&address.id_scope).await?;
        if !gateway.instance.accepts(api_version) {
            let reason = format!("the api-version {api_version} of the link is not known");
            return Err(ServiceError::invalid(reason));
        }
        if let Login::Token { address: own, .. } = &self.login
            && *own != address
        {
            return Err(ServiceError::unauthorized().with_reason(format!(
                "the client authenticated as '{own}' and attached a link at '{address}'"
            )));
        }
        Ok(AcceptedLink {
            link: link.link,
            role: link.role,
            address,
            api_version,
        })
    }

    fn presented(&self) -> Result<Presented<'a>, ServiceError> {
        match &self.login {
            Login::Token { token, .. } => Ok(Presented::Token(token.clone())),
            Login::Certificate => Presented::of(None, self.caller.peer.chain.as_ref()),
        }
    }

    /// Answers a request on the link where the client receives.
    pub(super) async fn request<S>(
        &mut self,
        server: &mut Server<S>,
        request: &Request,
    ) -> Result<Next, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let performed = {
            let mut performed = pin!(self.perform(request));
            tokio::select! {
                biased;
                performed = &mut performed => performed,
                // The task that writes a registration runs meanwhile. The answers to earlier requests do not wait for a slow one.
                () = tokio::task::yield_now() => {
                    let (sent, performed) = tokio::join!(server.flush(), performed);
                    sent?;
                    performed
                }
            }
        };
        let outcome = match performed {
            Ok(outcome) => outcome,
            Err(error) => {
                let device = self
                    .link(request.link())
                    .map(|link| link.address.to_string());
                answer::refused(self.gateway, self.caller, device.as_deref(), &error)
            }
        };
        match outcome {
            Outcome::Reply(answer) if answer.status >= 400 => {
                server.reject(request, refusal(&answer))?;
            }
            Outcome::Reply(answer) => {
                // Every request that succeeds was authenticated.
                self.caller.peer.prove();
                server.accept(request)?;
                self.send(server, request, &answer)?;
            }
            Outcome::Silence => server.accept(request)?,
            Outcome::Cut => {
                // The answers to earlier requests.
                server.flush().await?;
                return Ok(Next::Cut);
            }
        }
        Ok(Next::Continue)
    }

    fn link(&self, id: LinkId) -> Option<&AcceptedLink> {
        self.links.iter().find(|link| link.link == id)
    }

    async fn perform(&self, request: &Request) -> Result<Outcome, ServiceError> {
        let link = self
            .link(request.link())
            .ok_or_else(|| ServiceError::invalid("The link is not attached."))?;
        if self.answer_link(&link.address).is_none() {
            return Err(ServiceError::invalid(
                "There is no link for the answer: attach a receiver first.",
            ));
        }
        let message = request.message();
        let operation = Operation::parse(
            message.text_property(OPERATION_TYPE),
            message.text_property(OPERATION_ID),
        )?;
        let action = match operation {
            Operation::OperationStatus(id) => DeviceAction::OperationStatus(id),
            _ => DeviceAction::Register,
        };
        let route = DeviceRoute::new(
            link.address.id_scope.clone(),
            link.address.registration_id.clone(),
            action,
        );
        let body = match &message.body {
            Body::Data(bytes) => bytes.as_slice(),
            Body::Text(text) => text.as_bytes(),
            _ => b"",
        };
        let call = DeviceCall {
            route: &route,
            api_version: link.api_version,
            presented: self.presented()?,
            // The C# SDK may send no body: the link identifies the device.
            body: match body.trim_ascii() {
                [] => b"{}",
                body => body,
            },
            takes_challenge: matches!(self.login, Login::Token { tpm: true, .. }),
        };
        let gateway = self.instances.for_device(&route.id_scope).await?;
        Ok(answer::answer(&gateway, &call, self.caller).await)
    }

    /// The latest link where the client receives, at the address of the request.
    fn answer_link(&self, address: &Address) -> Option<LinkId> {
        let mut links = self.links.iter().rev();
        let link = links.find(|link| link.role == Role::Receiver && link.address == *address)?;
        Some(link.link)
    }

    fn send<S>(
        &self,
        server: &mut Server<S>,
        request: &Request,
        answer: &Answer,
    ) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut message = Message::data(answer.body.clone())
            .with_correlation_id(request.message().correlation_id.clone());
        if let Some(seconds) = answer.retry_after {
            // Each SDK reads one of the two spellings.
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            for name in [RETRY_AFTER, RETRY_AFTER_CSHARP] {
                message = message.with_property(name, Property::Number(seconds));
            }
        }
        let link = self
            .link(request.link())
            .and_then(|link| self.answer_link(&link.address));
        let sent = match link {
            Some(link) => server.send(link, &message)?,
            None => false,
        };
        if !sent {
            let reason = "an answer was dropped: the client does not receive on its link";
            self.gateway.ignored(self.caller, None, reason);
        }
        Ok(())
    }
}
