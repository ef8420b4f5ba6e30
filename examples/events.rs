//! Waveforms to events on disk: `cargo run --release --example events [FILE]` runs a pass over a file of JUNO waveforms and prints
//! the table of events.

use std::path::PathBuf;

use nuwave::io::tables::events;
use nuwave::pipeline::{BackendKind, Pass, PassSettings};

fn main() -> nuwave::Result<()> {
    let file = std::env::args().nth(1);
    let file = file.map_or_else(|| PathBuf::from("testdata/juno64.h5"), PathBuf::from);
    let output = std::env::temp_dir().join("nuwave-example-events");
    let settings = PassSettings {
        detector: Some("juno".to_owned()),
        backend: BackendKind::Cpu,
        ..PassSettings::default()
    };
    let outcome = Pass::new(settings, [file], &output).overwrite(true).run()?;
    print!("{}", outcome.report.summary());
    let parts = outcome.report.outputs.iter();
    for part in parts.filter(|part| part.path.starts_with("events/")) {
        for (_, event) in events::read(&output.join(&part.path))? {
            println!(
                "event {}: ({:.0}, {:.0}, {:.0}) mm, {} channels hit, {:.1} PE",
                event.event_id,
                event.x_mm,
                event.y_mm,
                event.z_mm,
                event.n_channels_hit,
                event.charge_pe
            );
        }
    }
    Ok(())
}
