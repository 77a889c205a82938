//! The profile file: named sets of options, so that a command line needs none of them.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::{Failure, Result};
use crate::input::{self, InputFile};

/// The options of one instance. Options of the command line and environment variables come first.
#[derive(Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Profile {
    /// Connection string of a shared access policy.
    pub(crate) connection_string: Option<String>,
    /// File with the connection string. A relative path starts at the folder of the profile file.
    pub(crate) connection_string_file: Option<PathBuf>,
    /// Host name of the instance, for Microsoft Entra ID.
    pub(crate) service_host: Option<String>,
    /// Id scope of the instance.
    pub(crate) id_scope: Option<String>,
    /// Host that devices connect to.
    pub(crate) host: Option<String>,
    /// Root certificates to trust in place of those of the operating system.
    pub(crate) ca_file: Option<PathBuf>,
    /// HTTP proxy.
    pub(crate) proxy: Option<String>,
}

/// The file: a table for each profile.
type Profiles = BTreeMap<String, Profile>;

/// The name of the profile that is used without `--profile`, if the file contains it.
const DEFAULT: &str = "default";

impl Profile {
    /// Reads a profile of the file, `~/.config/dps/profiles.toml` by default.
    pub(crate) fn load(file: Option<&InputFile>, name: Option<&str>) -> Result<Self> {
        let default = || default_file().filter(|path| path.exists());
        let Some(file) = file.cloned().or_else(|| default().map(InputFile::from)) else {
            return match name {
                None => Ok(Self::default()),
                Some(name) => Err(Failure::usage(format!(
                    "the profile {name} does not exist: there is no profile file"
                ))
                .with_hint("create ~/.config/dps/profiles.toml, or name the file with --config")),
            };
        };
        let text = input::read_text(&file)?;
        Self::parse(&text, file.path(), name)
    }

    /// Reads a profile of the text of a file, without a name the default one.
    pub(crate) fn parse(text: &str, path: &Path, name: Option<&str>) -> Result<Self> {
        // The error of toml repeats the line, which may contain a key.
        let mut profiles: Profiles = toml::from_str(text).map_err(|error| {
            let before = error.span().map(|span| text.bytes().take(span.start));
            let line = before.map_or(0, |before| before.filter(|byte| *byte == b'\n').count() + 1);
            Failure::usage(format!(
                "{} is not a valid profile file: line {line}: {}",
                path.display(),
                error.message()
            ))
        })?;
        let selected = name.unwrap_or(DEFAULT);
        let Some(mut profile) = profiles.remove(selected) else {
            if name.is_none() {
                return Ok(Self::default());
            }
            let known = profiles.into_keys().collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(format!(
                "{} does not contain the profile {selected}; it contains: {known}",
                path.display()
            )));
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [&mut profile.connection_string_file, &mut profile.ca_file]
            .into_iter()
            .flatten()
        {
            *file = folder.join(&*file);
        }
        Ok(profile)
    }
}

fn default_file() -> Option<PathBuf> {
    let variable = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = variable("XDG_CONFIG_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".config")))
        .or_else(|| variable("APPDATA"))?;
    Some(folder.join("dps").join("profiles.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_and_not_its_content() {
        for (text, line) in [
            ("host = é", 1),
            ("[default]\nhost = \"a\"\nhöst = \"secret\"\n", 3),
            ("# é\n[default]\n\nid-scope = é", 4),
        ] {
            let parsed = Profile::parse(text, Path::new("profiles.toml"), None);
            let error = parsed.err().expect("refused").to_string();
            let start = format!("profiles.toml is not a valid profile file: line {line}: ");
            assert!(error.starts_with(&start), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
