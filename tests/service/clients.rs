//! The clients that users have, pyarrow and tritonclient, against the service: the programs in `examples/` and `tests/clients`.
//! Needs Python with both, named by `NUWAVE_PYTHON`.
#![cfg(unix)]

use std::process::Command;

#[test]
#[ignore = "needs pyarrow and tritonclient"]
fn clients_of_python_get_what_a_pass_over_the_file_makes() {
    let python = std::env::var_os("NUWAVE_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/clients/check.py"
        ))
        .arg(env!("CARGO_BIN_EXE_nuwave"))
        .output()
        .expect("python");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
