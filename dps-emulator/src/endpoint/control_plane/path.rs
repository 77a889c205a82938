//! The paths of the control plane, as Azure Resource Manager has them.

use dps_types::ErrorCode;
use dps_types::protocol::decode;

use crate::service_error::ServiceError;

/// A path of the control plane, with its words as the client spells them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) subscription: String,
    pub(super) target: Target,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `…/checkProvisioningServiceNameAvailability`
    NameAvailability,
    /// The instances of the subscription.
    Subscription,
    /// The instances of a resource group.
    Group(String),
    /// An instance.
    Instance {
        group: String,
        name: String,
        part: Part,
    },
}

/// A part of an instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Skus,
    Keys,
    Key(String),
    OperationResult,
    Certificates,
    Certificate(String),
    GenerateCode(String),
    Verify(String),
}

impl Path {
    /// Segments are compared without regard to case, and a slash at the end is ignored.
    pub(super) fn parse(path: &str) -> Result<Self, ServiceError> {
        let not_found = || ServiceError::new(ErrorCode::NOT_FOUND, "Not found.");
        let words: Option<Vec<String>> = path.trim_matches('/').split('/').map(decode).collect();
        let words = words.ok_or_else(not_found)?;
        let lower: Vec<String> = words.iter().map(|it| it.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let word = |index: usize| words.get(index).cloned().unwrap_or_default();
        let target = match &*lower {
            ["subscriptions", _, "providers", "microsoft.devices", last] => match *last {
                "provisioningservices" => Target::Subscription,
                "checkprovisioningservicenameavailability" => Target::NameAvailability,
                _ => return Err(not_found()),
            },
            [
                "subscriptions",
                _,
                "resourcegroups",
                _,
                "providers",
                "microsoft.devices",
                "provisioningservices",
                rest @ ..,
            ] => {
                let part = match rest {
                    [] => None,
                    [_] => Some(Part::Whole),
                    [_, "skus"] => Some(Part::Skus),
                    [_, "listkeys"] => Some(Part::Keys),
                    [_, "keys", _, "listkeys"] => Some(Part::Key(word(9))),
                    [_, "operationresults", _] => Some(Part::OperationResult),
                    [_, "certificates"] => Some(Part::Certificates),
                    [_, "certificates", _] => Some(Part::Certificate(word(9))),
                    [_, "certificates", _, "generateverificationcode"] => {
                        Some(Part::GenerateCode(word(9)))
                    }
                    [_, "certificates", _, "verify"] => Some(Part::Verify(word(9))),
                    _ => return Err(not_found()),
                };
                match part {
                    None => Target::Group(word(3)),
                    Some(part) => Target::Instance {
                        group: word(3),
                        name: word(7),
                        part,
                    },
                }
            }
            _ => return Err(not_found()),
        };
        Ok(Self {
            subscription: word(1),
            target,
        })
    }
}

/// The id of an instance as a resource.
pub(super) fn resource_id(subscription: &str, group: &str, name: &str) -> String {
    format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Devices/provisioningServices/{name}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str =
        "/subscriptions/S/resourceGroups/G/providers/Microsoft.Devices/provisioningServices";

    fn part(below: &str) -> Option<Part> {
        match Path::parse(&format!("{GROUP}/N{below}")).ok()?.target {
            Target::Instance { group, name, part } => {
                assert_eq!((&*group, &*name), ("G", "N"));
                Some(part)
            }
            _ => None,
        }
    }

    #[test]
    fn paths_are_those_of_the_swagger() {
        let target = |path: &str| Path::parse(path).expect(path).target;
        let subscription = "/subscriptions/S/providers/Microsoft.Devices";
        assert_eq!(
            target(&format!("{subscription}/provisioningServices")),
            Target::Subscription
        );
        assert_eq!(
            target(&format!(
                "{subscription}/checkProvisioningServiceNameAvailability"
            )),
            Target::NameAvailability
        );
        assert_eq!(target(GROUP), Target::Group("G".to_owned()));
        let name = || "K".to_owned();
        for (below, expected) in [
            ("", Part::Whole),
            ("/skus", Part::Skus),
            ("/listkeys", Part::Keys),
            ("/keys/K/listkeys", Part::Key(name())),
            ("/operationresults/K", Part::OperationResult),
            ("/certificates", Part::Certificates),
            ("/certificates/K", Part::Certificate(name())),
            (
                "/certificates/K/generateVerificationCode",
                Part::GenerateCode(name()),
            ),
            ("/certificates/K/verify", Part::Verify(name())),
        ] {
            assert_eq!(part(below), Some(expected), "{below}");
        }
        let other_case = GROUP.to_ascii_uppercase() + "/N/ListKeys/";
        assert!(Path::parse(&other_case).is_ok());
    }

    #[test]
    fn other_paths_are_not_found() {
        for path in [
            "/subscriptions",
            "/subscriptions/S/providers/Microsoft.Storage/provisioningServices",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Devices/iotHubs/N",
            &format!("{GROUP}/N/keys/K"),
            &format!("{GROUP}/N/privateLinkResources"),
            &format!("{GROUP}/N/certificates/K/other"),
            &format!("{GROUP}/%FF"),
        ] {
            let error = Path::parse(path).expect_err(path);
            assert_eq!(error.status(), 404, "{path}");
        }
    }
}
