//! The configuration file, for the targets of `fuzz/`.

use clap::FromArgMatches as _;

use super::Settings;
use super::config_file::ConfigFile;
use super::options::Options;
use super::{sources, start};

/// Reads a configuration file. Returns the arguments that its options mean, and whether an emulator can be made from them.
pub fn arguments(text: &str, is_json: bool) -> Option<(Vec<String>, bool)> {
    let file = ConfigFile::parse("file".to_owned(), text, is_json).ok()?;
    let command = sources::command();
    let arguments = file.arguments(&command, |_| false).ok()?;
    let shown: Vec<String> = arguments
        .iter()
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    // Their values are files that are read.
    let names_file = |it: &String| {
        ["--verified-ca", "--server-"]
            .iter()
            .any(|name| it.starts_with(name))
    };
    if shown.iter().any(names_file) {
        return Some((shown, false));
    }
    let words = ["dps-emulator".into()].into_iter().chain(arguments);
    let options = command.try_get_matches_from(words).ok();
    let options = options.and_then(|it| Options::from_arg_matches(&it).ok());
    let is_valid = options.is_some_and(|options| {
        let documents = file.documents;
        start::builder(&Settings { options, documents }).is_ok()
    });
    Some((shown, is_valid))
}
