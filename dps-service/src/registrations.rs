//! What became of the devices that registered.

use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::{DeviceRegistrationState, RegistrationId};

use crate::client::ServiceClient;
use crate::error::Error;
use crate::request::Request;
use crate::retry::Repeat;

/// The registration records. Made by [`ServiceClient::registrations`].
///
/// Source: `service.json` of api-version 2021-10-01.
#[derive(Clone, Copy, Debug)]
pub struct Registrations<'a> {
    client: &'a ServiceClient,
}

impl<'a> Registrations<'a> {
    pub(crate) fn new(client: &'a ServiceClient) -> Self {
        Self { client }
    }

    /// Reads the registration record of a device.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it has none.
    pub async fn get(&self, id: &RegistrationId) -> Result<DeviceRegistrationState, Error> {
        let request = Request::new(ServiceRoute::Registration(id.clone(), Crud::Get));
        let deadline = self.client.deadline();
        let answer = self.client.send(request, Repeat::Freely, deadline).await?;
        answer.json()
    }

    /// Deletes the registration record of a device: its next registration is its first.
    ///
    /// The device stays in its hub.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it has none.
    pub async fn delete(&self, id: &RegistrationId) -> Result<(), Error> {
        let request = Request::new(ServiceRoute::Registration(id.clone(), Crud::Delete));
        self.client.delete(request).await
    }
}
