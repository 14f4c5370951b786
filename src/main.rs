//! The program `ecr-access`: parses the command line, runs the subcommand, exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ecr_access::cli::main()
}
