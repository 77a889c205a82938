//! Starts a script in `node/` or `python/`.

use std::path::Path;

use tokio::process::Command;

/// The interpreter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    Node,
    Python,
}

impl Program {
    /// Returns the command for this script, with the root certificates in this file.
    pub(crate) fn script(self, name: &str, roots: &Path) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        match self {
            Self::Node => {
                let mut node = Command::new("node");
                node.arg(folder.join("node").join(format!("{name}.mjs")))
                    .env("NODE_EXTRA_CA_CERTS", roots);
                node
            }
            Self::Python => {
                let mut python = Command::new(folder.join("python/.venv/bin/python"));
                python
                    .arg(folder.join("python").join(format!("{name}.py")))
                    .env("SSL_CERT_FILE", roots);
                python
            }
        }
    }
}
