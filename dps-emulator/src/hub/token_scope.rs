//! The paths of a hub's REST API that the token of a back end is for.

/// Whether the resource of a token, without its host, is `path` or a prefix of it by segments.
///
/// The words of the path are compared without regard to case: azure-docs `iot-hub/authenticate-authorize-sas.md` signs the resource in
/// lower case, and Microsoft's published check of a token ignores the case (azure-iot-sdk-csharp `SharedAccessSignature.Authorize`). The
/// ids of devices and modules are compared with case, because two of them may differ in it only.
pub(super) fn covers(resource: &str, path: &str) -> bool {
    let covered: Vec<&str> = resource.trim_end_matches('/').split('/').collect();
    let requested: Vec<&str> = path.split('/').collect();
    covered.len() <= requested.len()
        && covered
            .iter()
            .zip(&requested)
            .enumerate()
            .all(|(at, (covered, found))| match is_id(&requested, at) {
                true => covered == found,
                false => covered.eq_ignore_ascii_case(found),
            })
}

/// Whether the segment is the id of a device or of a module. The first segment is the empty one before the first slash.
fn is_id(segments: &[&str], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| segments.get(before));
    let follows = |word: &str| before.is_some_and(|before| before.eq_ignore_ascii_case(word));
    match at {
        2 => follows("devices") || follows("twins"),
        4 => follows("modules"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_covers_the_paths_below_it() {
        for (resource, path) in [
            ("", "/devices/dev-1"),
            ("/", "/devices/dev-1"),
            ("/devices", "/devices"),
            ("/devices/dev-1", "/devices/dev-1"),
            ("/devices/dev-1/", "/devices/dev-1/modules/m"),
        ] {
            assert!(covers(resource, path), "{resource} {path}");
        }
        for (resource, path) in [
            ("/devices/dev-1", "/devices/dev-10"),
            ("/devices/dev-1", "/devices"),
            ("/devices/dev-1", "/devices/dev-2"),
            ("/devices", "/twins/dev-1"),
            ("/devices/dev-1", "//devices/dev-1"),
        ] {
            assert!(!covers(resource, path), "{resource} {path}");
        }
    }

    #[test]
    fn words_may_differ_in_case_and_ids_may_not() {
        for (resource, path) in [
            ("/DEVICES/dev-1", "/devices/dev-1"),
            ("/devices/dev-1/Modules/m", "/Devices/dev-1/modules/m"),
            ("/Twins/dev-1/METHODS", "/twins/dev-1/methods"),
            ("/messages/devicebound", "/messages/deviceBound"),
            ("/JOBS/v2", "/jobs/V2/query"),
        ] {
            assert!(covers(resource, path), "{resource} {path}");
        }
        for (resource, path) in [
            ("/devices/DEV-1", "/devices/dev-1"),
            ("/twins/dev-1", "/twins/DEV-1/methods"),
            ("/devices/dev-1/modules/M", "/devices/dev-1/modules/m"),
            // Ids that are words.
            ("/devices/Modules", "/devices/modules"),
            ("/devices/DEVICES/modules/m", "/devices/devices/modules/m"),
        ] {
            assert!(!covers(resource, path), "{resource} {path}");
        }
    }
}
