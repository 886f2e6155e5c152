//! The kubectl plugin `kubectl plimsoll`: the same program under the name that kubectl looks for.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll::main()
}
