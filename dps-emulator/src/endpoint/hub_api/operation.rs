//! The operations of a hub's REST API, by method and path.

use dps_types::protocol::decode;
use dps_types::{DeviceId, ErrorCode, ModuleId};

use crate::service_error::ServiceError;

/// An operation of a hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// One of a back end, which authenticates with the key of the hub.
    BackEnd(BackEnd),
    /// One of a device or module, which authenticates as over MQTT.
    Device(Target, DeviceOperation),
}

/// A device, or a module of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) device_id: DeviceId,
    pub(super) module_id: Option<ModuleId>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum BackEnd {
    List,
    Modules(Target),
    Identity(Target),
    Put(Target),
    Remove(Target),
    Twin(Target),
    PatchTwin(Target),
    ReplaceTwin(Target),
    Invoke(Target),
    /// Send a cloud-to-device message. The device is in a header.
    Send,
    /// Empty the queue of cloud-to-device messages.
    Purge(Target),
    Receive(Queue),
    Settle {
        queue: Queue,
        token: String,
        completed: bool,
    },
}

/// A queue from which back ends receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Feedback,
    FileNotifications,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum DeviceOperation {
    /// Send telemetry.
    Telemetry,
    /// Request the address for the upload of a file.
    StartUpload,
    /// Report the result of an upload. Some clients have the correlation id in the path.
    FinishUpload { correlation_id: Option<String> },
}

impl Target {
    pub(super) fn device(id: &str) -> Result<Self, ServiceError> {
        Ok(Self {
            device_id: DeviceId::new(id)?,
            module_id: None,
        })
    }

    fn module(device_id: &str, id: &str) -> Result<Self, ServiceError> {
        Ok(Self {
            module_id: Some(ModuleId::new(id)?),
            ..Self::device(device_id)?
        })
    }
}

impl Operation {
    /// Reads method and path. Fixed segments are compared without regard to case.
    pub(super) fn parse(method: &str, path: &str) -> Result<Self, ServiceError> {
        let segments: Option<Vec<String>> = path.trim_matches('/').split('/').map(decode).collect();
        let segments = segments.ok_or_else(not_found)?;
        let lower: Vec<String> = segments.iter().map(|it| it.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let segment = |index: usize| segments.get(index).map_or("", String::as_str);
        let device = || Target::device(segment(1));
        let module = || Target::module(segment(1), segment(3));
        match &lower[..] {
            ["devices"] => match method {
                "GET" => Ok(Self::BackEnd(BackEnd::List)),
                "POST" => unsupported("bulk operations on the devices of a hub"),
                _ => Err(method_not_allowed()),
            },
            ["devices", "query"] if method == "POST" => unsupported("queries of a hub"),
            ["devices", _] => Self::registry(method, device()?),
            ["devices", _, "modules"] => only(method, "GET", BackEnd::Modules(device()?)),
            ["devices", _, "modules", _] => Self::registry(method, module()?),
            ["devices", _, "commands"] => only(method, "DELETE", BackEnd::Purge(device()?)),
            ["devices", _, "messages", "events"] => {
                Self::of_device(method, device()?, DeviceOperation::Telemetry)
            }
            ["devices", _, "modules", _, "messages", "events"] => {
                Self::of_device(method, module()?, DeviceOperation::Telemetry)
            }
            ["devices", _, "messages", "devicebound", ..] => unsupported(
                "receiving cloud-to-device messages over HTTPS; a device can receive them over MQTT",
            ),
            ["devices", _, "files"] => {
                Self::of_device(method, device()?, DeviceOperation::StartUpload)
            }
            ["devices", _, "files", "notifications", rest @ ..] if rest.len() < 2 => {
                let correlation_id = segments.get(4).cloned();
                let finish = DeviceOperation::FinishUpload { correlation_id };
                Self::of_device(method, device()?, finish)
            }
            ["twins", _] => Self::twin(method, device()?),
            ["twins", _, "modules", _] => Self::twin(method, module()?),
            ["twins", _, "methods"] => only(method, "POST", BackEnd::Invoke(device()?)),
            ["twins", _, "modules", _, "methods"] => {
                only(method, "POST", BackEnd::Invoke(module()?))
            }
            ["messages", "devicebound"] => only(method, "POST", BackEnd::Send),
            ["messages", "servicebound", "feedback", ..] => {
                Self::queue(method, Queue::Feedback, &segments)
            }
            ["messages", "servicebound", "filenotifications", ..] => {
                Self::queue(method, Queue::FileNotifications, &segments)
            }
            ["devices", _, "applyconfigurationcontent"] | ["configurations", ..] => {
                unsupported("configurations of a hub")
            }
            ["jobs", ..] => unsupported("jobs of a hub"),
            ["statistics", ..] => unsupported("statistics of a hub"),
            ["digitaltwins", ..] => unsupported("digital twins"),
            _ => Err(not_found()),
        }
    }

    fn registry(method: &str, target: Target) -> Result<Self, ServiceError> {
        Ok(Self::BackEnd(match method {
            "GET" => BackEnd::Identity(target),
            "PUT" => BackEnd::Put(target),
            "DELETE" => BackEnd::Remove(target),
            _ => return Err(method_not_allowed()),
        }))
    }

    fn twin(method: &str, target: Target) -> Result<Self, ServiceError> {
        Ok(Self::BackEnd(match method {
            "GET" => BackEnd::Twin(target),
            "PATCH" => BackEnd::PatchTwin(target),
            "PUT" => BackEnd::ReplaceTwin(target),
            _ => return Err(method_not_allowed()),
        }))
    }

    fn of_device(
        method: &str,
        target: Target,
        operation: DeviceOperation,
    ) -> Result<Self, ServiceError> {
        match method {
            "POST" => Ok(Self::Device(target, operation)),
            _ => Err(method_not_allowed()),
        }
    }

    /// `/messages/servicebound/{queue}`, and `/{lockToken}` or `/{lockToken}/abandon` after it.
    fn queue(method: &str, queue: Queue, segments: &[String]) -> Result<Self, ServiceError> {
        let settle = |token: &String, completed| BackEnd::Settle {
            queue,
            token: token.clone(),
            completed,
        };
        match segments.get(3..).unwrap_or_default() {
            [] => only(method, "GET", BackEnd::Receive(queue)),
            [token] => only(method, "DELETE", settle(token, true)),
            [token, word] if word.eq_ignore_ascii_case("abandon") => {
                only(method, "POST", settle(token, false))
            }
            _ => Err(not_found()),
        }
    }
}

fn only(method: &str, expected: &str, operation: BackEnd) -> Result<Operation, ServiceError> {
    match method == expected {
        true => Ok(Operation::BackEnd(operation)),
        false => Err(method_not_allowed()),
    }
}

fn unsupported<T>(what: &str) -> Result<T, ServiceError> {
    Err(ServiceError::not_implemented(what))
}

fn not_found() -> ServiceError {
    ServiceError::new(ErrorCode::new(404_000), "There is no such path")
}

fn method_not_allowed() -> ServiceError {
    ServiceError::new(
        ErrorCode::METHOD_NOT_ALLOWED,
        "This path does not support the method",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str) -> Target {
        Target::device(id).unwrap()
    }

    #[test]
    fn paths_of_the_rest_api() {
        let module = || Target::module("d", "m").unwrap();
        for (method, path, expected) in [
            ("GET", "/devices", BackEnd::List),
            ("GET", "/Devices/d/Modules", BackEnd::Modules(device("d"))),
            ("PUT", "/devices/d", BackEnd::Put(device("d"))),
            ("DELETE", "/devices/d/modules/m", BackEnd::Remove(module())),
            ("GET", "/twins/d/modules/m", BackEnd::Twin(module())),
            ("POST", "/twins/d/methods", BackEnd::Invoke(device("d"))),
            (
                "POST",
                "/twins/d/modules/m/methods",
                BackEnd::Invoke(module()),
            ),
            ("POST", "/messages/deviceBound", BackEnd::Send),
            ("DELETE", "/devices/d/commands", BackEnd::Purge(device("d"))),
            (
                "GET",
                "/messages/serviceBound/feedback",
                BackEnd::Receive(Queue::Feedback),
            ),
            (
                "POST",
                "/messages/serviceBound/filenotifications/T-1/abandon",
                BackEnd::Settle {
                    queue: Queue::FileNotifications,
                    token: "T-1".to_owned(),
                    completed: false,
                },
            ),
        ] {
            let parsed = Operation::parse(method, path).unwrap();
            assert_eq!(parsed, Operation::BackEnd(expected), "{method} {path}");
        }
        for (path, operation) in [
            ("/devices/d/messages/events", DeviceOperation::Telemetry),
            ("/devices/d/files", DeviceOperation::StartUpload),
            (
                "/devices/d/files/notifications",
                DeviceOperation::FinishUpload {
                    correlation_id: None,
                },
            ),
            (
                "/devices/d/files/notifications/c%2F1",
                DeviceOperation::FinishUpload {
                    correlation_id: Some("c/1".to_owned()),
                },
            ),
        ] {
            let parsed = Operation::parse("POST", path).unwrap();
            assert_eq!(parsed, Operation::Device(device("d"), operation), "{path}");
        }
    }

    #[test]
    fn an_operation_that_is_not_implemented_is_501_with_its_name() {
        for (method, path, missing) in [
            (
                "GET",
                "/devices/d/messages/deviceBound",
                "cloud-to-device messages over HTTPS",
            ),
            (
                "POST",
                "/devices/d/messages/devicebound/1/abandon",
                "cloud-to-device messages over HTTPS",
            ),
            ("POST", "/devices/query", "queries"),
            ("POST", "/devices", "bulk operations"),
            ("POST", "/jobs/v2/query", "jobs"),
            ("GET", "/configurations", "configurations"),
            ("GET", "/statistics/devices", "statistics"),
            ("GET", "/digitaltwins/d", "digital twins"),
        ] {
            let error = Operation::parse(method, path).unwrap_err();
            assert_eq!(error.status(), 501, "{path}");
            assert!(error.message().contains(missing), "{path}: {error:?}");
        }
    }

    #[test]
    fn paths_that_do_not_exist() {
        for path in [
            "/devices/d/messages",
            "/devices/d/e",
            "/devices/d/modules/m/e",
            "/devices/d/files/notifications/c/e",
            "/messages/servicebound",
            "/messages/servicebound/feedback/t/complete",
            "/twins",
            "/devices/%FF",
        ] {
            let error = Operation::parse("GET", path).unwrap_err();
            assert_eq!(error.status(), 404, "{path}");
        }
        for path in ["/devices", "/devices/d", "/twins/d/methods", "/twins/d"] {
            let error = Operation::parse("HEAD", path).unwrap_err();
            assert_eq!(error.status(), 405, "{path}");
        }
        for path in ["/devices/a%20b", "/devices/", "/devices//modules/m"] {
            let error = Operation::parse("PUT", path).unwrap_err();
            assert!([400, 405].contains(&error.status()), "{path}");
        }
    }

    #[test]
    fn a_device_may_have_the_name_of_an_operation() {
        assert_eq!(
            Operation::parse("GET", "/devices/query").unwrap(),
            Operation::BackEnd(BackEnd::Identity(device("query")))
        );
    }
}
