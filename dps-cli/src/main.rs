//! The program `dps`: see the library.

fn main() -> std::process::ExitCode {
    dps_cli::main()
}
