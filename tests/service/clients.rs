//! Python clients (pyarrow and tritonclient) of the service: the programs in `examples/`, run by `tests/clients/check.py` with the
//! Python that `NUWAVE_PYTHON` names.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs pyarrow and tritonclient"]
fn python_clients_receive_the_same_tables_as_a_pass() {
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

#[test]
fn test_data_that_the_examples_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for entry in std::fs::read_dir(root.join("examples")).expect("the examples") {
        let path = entry.expect("an example").path();
        // `service_load` is a folder, and names no test data.
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        for part in text.split("testdata/").skip(1) {
            let name: String = part
                .chars()
                .take_while(|it| it.is_ascii_alphanumeric() || "-._".contains(*it))
                .collect();
            let file = root.join("testdata").join(name.trim_end_matches('.'));
            assert!(file.is_file(), "{}: {}", path.display(), file.display());
            named += 1;
        }
    }
    assert!(named >= 2, "{named} files");
}
