//! The `bayesc` binary.

fn main() -> std::process::ExitCode {
    bayesc::cli::main()
}
