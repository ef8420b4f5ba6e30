//! `nuwave flags`, `completions` and `man`; the meaning of columns in the files.

use std::fs::File;

use nuwave::model::Flags;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::reconstruct::{Run, nuwave, testdata};

fn said(words: &[&str]) -> String {
    Run::new(nuwave().args(words)).ended_with(0).stdout
}

#[test]
fn a_value_is_explained_by_its_flags() {
    let text = said(&["flags", "129"]);
    assert!(
        text.starts_with("129 (0x81): saturated_high, pile_up\n"),
        "{text}"
    );
    assert!(text.contains("bit 7, value 128"), "{text}");
    assert_eq!(said(&["flags", "0x81"]), text);
    assert!(said(&["flags", "pile_up"]).starts_with("128 (0x80): pile_up\n"));
    assert_eq!(said(&["flags", "0"]), "0 (0x0): no flag\n");
    let all = said(&["flags"]);
    assert_eq!(all.matches("what to do").count(), Flags::ALL.len(), "{all}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&["flags", "128", "--json"])).expect("JSON");
    assert_eq!(json[0][0]["name"], "pile_up");
}

#[test]
fn what_is_no_flag_is_refused() {
    for word in ["pileup", "4294967295", "-1", "0xg"] {
        Run::new(nuwave().args(["flags", word])).refused(2);
    }
}

#[test]
fn shells_and_manual_pages_know_all_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = said(&["completions", shell]);
        for word in ["reconstruct", "light-maps", "completions"] {
            assert!(script.contains(word), "{shell} without {word}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("man1");
    said(&["man", "--output", target.to_str().expect("a plain path")]);
    for command in ["nuwave", "nuwave-reconstruct", "nuwave-calibrate-spe"] {
        let page = std::fs::read_to_string(target.join(format!("{command}.1"))).expect(command);
        assert!(page.contains(&format!(".TH {command} 1")), "{page}");
        assert!(!page.contains("nuwave nuwave"), "{page}");
    }
    Run::new(nuwave().args(["man", "--output", "/dev/null/x"])).refused(5);
}

#[test]
fn columns_have_their_unit_and_meaning_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let result = folder.path().join("result");
    let mut command = nuwave();
    command.arg("reconstruct").arg(testdata("juno64.h5"));
    Run::new(command.arg("-o").arg(&result)).ended_with(0);
    for (table, column, unit) in [
        ("hits", "time_ns", "ns"),
        ("waveforms", "baseline_adc", "ADC counts"),
        ("events", "energy_mev", "MeV"),
    ] {
        let file = File::open(result.join(table).join("part-00000-00000.parquet")).expect(table);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a table");
        for field in builder.schema().fields() {
            assert!(field.metadata().contains_key("description"), "{field:?}");
        }
        let field = builder.schema().field_with_name(column).expect("a column");
        assert_eq!(field.metadata()["unit"], unit);
    }
}
