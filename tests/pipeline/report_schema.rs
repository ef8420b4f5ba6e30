//! The schema of `report.json`: names and types of all that it holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::reconstruct::{Folder, reconstruct, testdata};
use crate::support::snapshot;

/// Collects each path of `value` with the types that it has. Elements of arrays share one path.
fn collect(value: &Value, path: &str, schema: &mut BTreeMap<String, Vec<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = schema.entry(path.to_owned()).or_default();
    if !kinds.contains(&kind) {
        kinds.push(kind);
        kinds.sort_unstable();
    }
    match value {
        Value::Array(elements) => {
            for element in elements {
                collect(element, &format!("{path}[]"), schema);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                collect(member, &format!("{path}.{name}"), schema);
            }
        }
        _ => {}
    }
}

fn schema(report: &Value) -> String {
    let mut schema = BTreeMap::new();
    collect(report, "", &mut schema);
    let mut text = String::new();
    for (path, kinds) in &schema {
        let _ = writeln!(text, "{path}: {}", kinds.join(" | "));
    }
    text
}

#[test]
fn a_report_has_the_members_of_its_snapshot() {
    let folder = Folder::new();
    let target = folder.path("out");
    let read = |target: &std::path::Path| -> Value {
        let text = std::fs::read_to_string(target.join("report.json")).expect("a report");
        serde_json::from_str(&text).expect("JSON")
    };
    let more = ["--backend", "cpu", "--threads", "1", "--method", "auto"];
    reconstruct(&[testdata("juno64.h5")], &target, &more).ended_with(0);
    snapshot::assert("report-waveforms", &schema(&read(&target)));
    let events = folder.path("events");
    let more = ["--from", "hits", "-d", "juno", "--threads", "1"];
    reconstruct(&[&target], &events, &more).ended_with(0);
    snapshot::assert("report-hits", &schema(&read(&events)));
}
