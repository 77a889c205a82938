//! The image of the emulator: its ports, its environment, and the line that it prints when it is ready.

use std::fmt;

use testcontainers::Image;
use testcontainers::core::{ContainerPort, WaitFor};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The beginning of the line that the emulator prints when it is ready.
pub(crate) const READY: &str = "{\"ready\":true,";

pub(crate) const HTTPS: u16 = 8443;
pub(crate) const MQTT: u16 = 8883;
pub(crate) const AMQP: u16 = 5671;
pub(crate) const CONTROL: u16 = 8080;

const PORTS: [ContainerPort; 4] = [
    ContainerPort::Tcp(HTTPS),
    ContainerPort::Tcp(MQTT),
    ContainerPort::Tcp(AMQP),
    ContainerPort::Tcp(CONTROL),
];

/// The image of `dps-emulator`, built from `packaging/Containerfile`: `dps-emulator:latest` unless another is set.
///
/// Its control endpoint is reachable from outside of the container, with a random token.
#[derive(Clone)]
pub struct DpsEmulatorImage {
    name: String,
    tag: String,
    host_name: Option<String>,
    token: Zeroizing<String>,
}

impl Default for DpsEmulatorImage {
    fn default() -> Self {
        Self {
            name: "dps-emulator".to_owned(),
            tag: "latest".to_owned(),
            host_name: None,
            token: Uuid::new_v4().simple().to_string().into(),
        }
    }
}

impl DpsEmulatorImage {
    /// Sets the name of the image, such as `ghcr.io/your-organization/dps-emulator`.
    #[must_use]
    pub fn with_image_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the tag of the image.
    #[must_use]
    pub fn with_image_tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// Adds a name to the server's certificate, for an engine on another host than this one. `localhost` and `127.0.0.1` are
    /// always part of it.
    #[must_use]
    pub fn with_host_name(mut self, name: impl Into<String>) -> Self {
        self.host_name = Some(name.into());
        self
    }

    pub(crate) fn token(&self) -> &Zeroizing<String> {
        &self.token
    }
}

impl fmt::Debug for DpsEmulatorImage {
    /// Hides the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpsEmulatorImage")
            .field("name", &self.name)
            .field("tag", &self.tag)
            .field("host_name", &self.host_name)
            .finish_non_exhaustive()
    }
}

impl Image for DpsEmulatorImage {
    fn name(&self) -> &str {
        &self.name
    }

    fn tag(&self) -> &str {
        &self.tag
    }

    fn ready_conditions(&self) -> Vec<WaitFor> {
        vec![WaitFor::message_on_stdout(READY)]
    }

    fn env_vars(
        &self,
    ) -> impl IntoIterator<
        Item = (
            impl Into<std::borrow::Cow<'_, str>>,
            impl Into<std::borrow::Cow<'_, str>>,
        ),
    > {
        let control = [
            ("DPS_EMULATOR_CONTROL_BIND", "0.0.0.0"),
            ("DPS_EMULATOR_CONTROL_TOKEN", self.token.as_str()),
        ];
        let host = self.host_name.as_deref();
        control
            .into_iter()
            .chain(host.map(|name| ("DPS_EMULATOR_HOST", name)))
    }

    fn expose_ports(&self) -> &[ContainerPort] {
        &PORTS
    }
}
