//! All that a client outside of the container needs to connect: names, ports, keys, and the certificate to trust.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use testcontainers::ContainerAsync;
use testcontainers::core::IntoContainerPort;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::image::{AMQP, CONTROL, DpsEmulatorImage, HTTPS, MQTT, READY};

/// The connection to an emulator in a container, with the ports of this host. It holds keys, so `Debug` does not show them.
#[non_exhaustive]
pub struct Connection {
    ready: Ready,
    host: String,
    ports: Ports,
    ca_pem: String,
    control_token: Zeroizing<String>,
}

/// The line that the emulator prints when it is ready. Other fields are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    id_scope: String,
    /// The path of the file in the container.
    ca_pem: String,
    service_connection_string: Zeroizing<String>,
    hub_connection_strings: BTreeMap<String, Zeroizing<String>>,
}

/// The ports of this host.
struct Ports {
    https: u16,
    mqtt: u16,
    amqp: u16,
    control: u16,
}

impl Connection {
    /// Reads the connection of a container that has started.
    ///
    /// # Errors
    /// [`ErrorKind::Engine`](crate::ErrorKind::Engine) if the container engine fails, and
    /// [`ErrorKind::Ready`](crate::ErrorKind::Ready) if the container did not print that it is ready.
    pub async fn of(container: &ContainerAsync<DpsEmulatorImage>) -> Result<Self, Error> {
        let port = async |port: u16| {
            let mapped = container.get_host_port_ipv4(port.tcp()).await;
            mapped.map_err(|error| Error::engine("a port of the container is not mapped", error))
        };
        let failed = |what| move |error| Error::engine(what, error);
        let output = container.stdout_to_vec().await;
        let output = output.map_err(failed("the output of the container cannot be read"))?;
        let ready = Ready::find(&output)?;
        let host = container.get_host().await;
        let host = host.map_err(failed("the host of the container is not known"))?;
        let ports = Ports {
            https: port(HTTPS).await?,
            mqtt: port(MQTT).await?,
            amqp: port(AMQP).await?,
            control: port(CONTROL).await?,
        };
        let ca_pem = container.copy_file_from(&ready.ca_pem, Vec::new()).await;
        let ca_pem = ca_pem.map_err(failed("the CA certificate cannot be read"))?;
        Ok(Self {
            ready,
            host: host.to_string(),
            ports,
            ca_pem: String::from_utf8_lossy(&ca_pem).into_owned(),
            control_token: container.image().token().clone(),
        })
    }

    /// The id scope of the instance.
    pub fn id_scope(&self) -> &str {
        &self.ready.id_scope
    }

    /// The host of all endpoints.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of HTTPS, and of MQTT and AMQP over WebSocket.
    pub fn https_port(&self) -> u16 {
        self.ports.https
    }

    /// The port of MQTT.
    pub fn mqtt_port(&self) -> u16 {
        self.ports.mqtt
    }

    /// The port of AMQP.
    pub fn amqp_port(&self) -> u16 {
        self.ports.amqp
    }

    /// The certificate that clients must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The URL of the control endpoint.
    pub fn control_url(&self) -> String {
        format!("http://{}:{}", self.host, self.ports.control)
    }

    /// The token of the control endpoint: a secret, for the header `Authorization: Bearer TOKEN`.
    pub fn control_token(&self) -> &str {
        &self.control_token
    }

    /// The connection string of the policy `provisioningserviceowner`, for service clients. A secret.
    pub fn service_connection_string(&self) -> Zeroizing<String> {
        self.mapped(&self.ready.service_connection_string)
    }

    /// The connection string of a linked hub, for clients of its REST API. `None` if no hub of this name is linked. A secret.
    pub fn hub_connection_string(&self, hub: &str) -> Option<Zeroizing<String>> {
        let found = self.ready.hub_connection_strings.get(hub)?;
        Some(self.mapped(found))
    }

    /// The connection string with the host and the port of HTTPS outside of the container.
    fn mapped(&self, connection_string: &str) -> Zeroizing<String> {
        let parts = connection_string.split(';').map(|part| {
            let is_host = part.starts_with("HostName=");
            Zeroizing::new(match is_host {
                true => format!("HostName={}:{}", self.host, self.ports.https),
                false => part.to_owned(),
            })
        });
        let parts: Vec<Zeroizing<String>> = parts.collect();
        let parts: Vec<&str> = parts.iter().map(|part| part.as_str()).collect();
        Zeroizing::new(parts.join(";"))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id_scope", &self.ready.id_scope)
            .field("host", &self.host)
            .field("https_port", &self.ports.https)
            .finish_non_exhaustive()
    }
}

impl Ready {
    /// Finds the line in the output of the container.
    fn find(output: &[u8]) -> Result<Self, Error> {
        let mut lines = output.split(|byte| *byte == b'\n');
        let line = lines
            .find(|line| line.starts_with(READY.as_bytes()))
            .ok_or_else(|| Error::ready("the container did not print that it is ready", None))?;
        serde_json::from_slice(line).map_err(|error| {
            let what = "the line of the container is not the one of dps-emulator";
            Error::ready(what, Some(error.into()))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    /// As the program prints it.
    const OUTPUT: &[u8] = b"a line before\n{\"ready\":true,\"caPem\":\"/data/ca.pem\",\"idScope\":\"0ne00000001\",\
        \"https\":\"https://localhost:8443\",\"mqtt\":\"localhost:8883\",\"amqp\":\"localhost:5671\",\
        \"control\":\"http://localhost:8080\",\"hubs\":[\"127.0.0.1\"],\
        \"serviceConnectionString\":\"HostName=localhost:8443;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey=c2VjcmV0\",\
        \"connectionStrings\":{},\
        \"hubConnectionStrings\":{\"127.0.0.1\":\"HostName=localhost:8443;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0\"}}\n";

    fn connection() -> Connection {
        Connection {
            ready: Ready::find(OUTPUT).unwrap(),
            host: "docker".to_owned(),
            ports: Ports {
                https: 40001,
                mqtt: 40002,
                amqp: 40003,
                control: 40004,
            },
            ca_pem: String::new(),
            control_token: "t0ken".to_owned().into(),
        }
    }

    #[test]
    fn the_ports_of_the_host_replace_those_of_the_container() {
        let dps = connection();
        assert_eq!(dps.id_scope(), "0ne00000001");
        assert_eq!(dps.ready.ca_pem, "/data/ca.pem");
        assert_eq!(dps.control_url(), "http://docker:40004");
        assert_eq!(
            dps.service_connection_string().as_str(),
            "HostName=docker:40001;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey=c2VjcmV0"
        );
        assert_eq!(
            dps.hub_connection_string("127.0.0.1").unwrap().as_str(),
            "HostName=docker:40001;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"
        );
        assert!(dps.hub_connection_string("other").is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", connection());
        assert!(!shown.contains("c2VjcmV0"), "{shown}");
        assert!(!shown.contains("t0ken"), "{shown}");
    }

    #[test]
    fn other_output_is_an_error() {
        for output in [
            "",
            "starting\n",
            "{\"ready\":true,}\n",
            "{\"ready\":true,\"idScope\":1}\n",
        ] {
            let error = Ready::find(output.as_bytes()).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Ready, "{output}");
        }
    }
}
