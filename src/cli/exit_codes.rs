//! The exit codes of all commands, for `--help` and the documentation.

use crate::error::EXIT_PARTIAL;

/// An exit code of the command line.
#[derive(Clone, Copy, Debug)]
pub struct ExitCodeDescription {
    /// The code.
    pub code: u8,
    /// The cause.
    pub meaning: &'static str,
    /// The reaction that a script or a batch system should have.
    pub advice: &'static str,
}

const fn exit_code(code: u8, meaning: &'static str, advice: &'static str) -> ExitCodeDescription {
    ExitCodeDescription {
        code,
        meaning,
        advice,
    }
}

/// The exit codes of all commands.
pub const EXIT_CODES: [ExitCodeDescription; 8] = [
    exit_code(0, "done", "nothing"),
    exit_code(
        2,
        "wrong usage: an option, a configuration, a detector or a calibration",
        "correct the command; do not repeat it",
    ),
    exit_code(
        3,
        "an input cannot be read or understood",
        "check the file that the message names, or leave unreadable files out with `--on-error skip`",
    ),
    exit_code(
        EXIT_PARTIAL,
        "done, but parts of the input were lost; the report lists them",
        "use the output; look at `losses` in report.json",
    ),
    exit_code(
        5,
        "an output cannot be written: full disk, permission, exists already",
        "make space or choose another output, then continue with `--resume`",
    ),
    exit_code(
        6,
        "a GPU was demanded, and there is none; or it failed for good, and the CPU completed the result",
        "without a result: choose another machine, or use `--backend auto`; with one: use it",
    ),
    exit_code(70, "an internal error of nuwave", "report it"),
    exit_code(
        75,
        "try again: a signal, an input that changes or cannot be read at the moment, another process that uses the same output",
        "repeat the command with `--resume`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_kind_has_a_described_exit_code() {
        let kinds = [
            ErrorKind::Usage,
            ErrorKind::Input,
            ErrorKind::Output,
            ErrorKind::Gpu,
            ErrorKind::Internal,
            ErrorKind::TryAgain,
        ];
        let mut codes: Vec<u8> = kinds.iter().map(|kind| kind.exit_code()).collect();
        codes.extend([0, EXIT_PARTIAL]);
        codes.sort_unstable();
        assert_eq!(EXIT_CODES.map(|code| code.code).to_vec(), codes);
    }
}
