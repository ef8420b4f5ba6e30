//! Makes the report of a run from the records of its units.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    EventsReport, InputReport, InputWarning, ListedLoss, Provenance, Report, Timings, Totals,
    UnitTiming,
};
use crate::pipeline::contradictions::contradictions;
use crate::pipeline::memory::memory_mib;
use crate::pipeline::plan::{PlannedInput, Unit};
use crate::pipeline::record::{MAX_LISTED, RangeChecksum, UnitRecord, UnitReport};

impl Report {
    /// Returns the report of the units in `records`, which are in order.
    #[must_use]
    pub fn new(records: &[UnitRecord], provenance: Provenance) -> Self {
        let Provenance {
            manifest,
            events,
            configuration_crc32c,
            gpu,
            threads,
            took_s,
            done,
        } = provenance;
        let inputs: Vec<InputReport> = manifest
            .inputs
            .iter()
            .enumerate()
            .map(|(place, input)| input_report(place as u32, input, records))
            .collect();
        let mut totals = Totals::default();
        let mut flags: BTreeMap<String, u64> = BTreeMap::new();
        let (mut outputs, mut losses) = (Vec::new(), Vec::new());
        let (mut levels, mut losses_not_listed) = ((0, 0.0, 0.0), 0);
        for UnitRecord {
            done, losses: lost, ..
        } in records
        {
            totals.waveforms += done.waveforms;
            totals.empty += done.empty;
            totals.samples += done.samples;
            totals.hits += done.hits;
            totals.charge_pe += done.charge_pe;
            levels = (
                levels.0 + done.levels.0,
                levels.1 + done.levels.1,
                levels.2 + done.levels.2,
            );
            for (name, count) in &done.flags {
                *flags.entry(name.clone()).or_default() += count;
            }
            outputs.extend(done.parts.iter().cloned());
            losses_not_listed += done.losses_not_listed;
            for loss in lost {
                if losses.len() < MAX_LISTED {
                    losses.push(ListedLoss {
                        input_id: done.input_id,
                        block: done.block,
                        loss: loss.clone(),
                    });
                } else {
                    losses_not_listed += 1;
                }
            }
        }
        let warnings = warnings(&manifest.inputs, records);
        totals.lost = inputs.iter().map(|input| input.lost).sum();
        totals.lost_unknown = inputs.iter().map(|input| input.lost_unknown).sum();
        if levels.0 > 0 {
            totals.mean_baseline_adc = Some(levels.1 / levels.0 as f64);
            totals.mean_noise_adc = Some(levels.2 / levels.0 as f64);
        }
        let mut timings = Timings::new(records, &done, took_s);
        timings.threads = threads;
        timings.gpu_kernel_s = gpu.as_ref().map(|gpu| gpu.kernel_s);
        Self {
            nuwave: manifest.nuwave,
            commit: manifest.commit,
            results_version: manifest.results_version,
            status: ["complete", "partial"][usize::from(totals.lost > 0 || !losses.is_empty())]
                .to_owned(),
            from: manifest.from,
            selection: manifest.selection,
            inputs,
            totals,
            flags,
            outputs,
            events: EventsReport::new(events, records),
            backend: backend_names(records),
            adapter: gpu.as_ref().map(|gpu| gpu.adapter.clone()),
            gpu,
            configuration: manifest.configuration,
            configuration_crc32c,
            sums: manifest.sums,
            warnings,
            losses,
            losses_not_listed,
            units: records.iter().map(|record| record.done.clone()).collect(),
            timings,
        }
    }
}

/// Returns the warnings of all inputs, in order.
fn warnings(inputs: &[PlannedInput], records: &[UnitRecord]) -> Vec<InputWarning> {
    let mut all = Vec::new();
    for (place, input) in inputs.iter().enumerate() {
        let input_id = place as u32;
        let texts = contradictions(input, &units_of(input_id, records));
        all.extend(
            texts
                .into_iter()
                .map(|text| InputWarning { input_id, text }),
        );
    }
    all
}

/// Returns the units of an input.
fn units_of(input_id: u32, records: &[UnitRecord]) -> Vec<&UnitReport> {
    let first = records.partition_point(|record| record.done.input_id < input_id);
    let end = records.partition_point(|record| record.done.input_id <= input_id);
    let of_input = records.get(first..end).unwrap_or_default();
    of_input.iter().map(|record| &record.done).collect()
}

fn input_report(input_id: u32, input: &PlannedInput, records: &[UnitRecord]) -> InputReport {
    let units = units_of(input_id, records);
    let sum = |of: fn(&UnitReport) -> u64| units.iter().map(|unit| of(unit)).sum::<u64>();
    let ranges: Vec<(u64, u64)> = units.iter().filter_map(|unit| unit.event_ids).collect();
    let ascending = units.iter().all(|unit| unit.ascending)
        && ranges.is_sorted_by(|before, after| before.1 < after.0);
    let parts = units.iter().filter_map(|unit| unit.read.as_ref());
    let with_events = units.iter().any(|unit| unit.events.is_some());
    let events = units.iter().filter_map(|unit| unit.events.as_ref());
    InputReport {
        input_id,
        path: input.path.display().to_string(),
        format: input.format.clone(),
        layout: input.layout.clone(),
        bytes: input.bytes,
        crc32c: input
            .crc32c
            .clone()
            .or_else(|| RangeChecksum::combined(parts, input.bytes)),
        sampling_ns: input.sampling_ns,
        polarity: input.polarity,
        adc_bits: input.adc_bits,
        expected: input.expected.clone(),
        input_of_table: input.input_of_table,
        rows: input.rows,
        units: input.units,
        unit_size: input.unit_size,
        ascending,
        waveforms: sum(|unit| unit.waveforms),
        lost: sum(|unit| unit.lost) + u64::from(input.unusable.is_some()),
        lost_unknown: sum(|unit| unit.lost_unknown) + u64::from(input.unusable.is_some()),
        above_range: units
            .iter()
            .filter_map(|unit| unit.above_range)
            .reduce(|mut all, above| {
                all.merge(above);
                all
            }),
        hits: sum(|unit| unit.hits),
        events: with_events.then(|| events.map(|events| events.events).sum()),
        cut: input.unusable.clone(),
    }
}

/// Returns the names of the backends that did the units.
fn backend_names(records: &[UnitRecord]) -> String {
    let mut names: Vec<&str> = records
        .iter()
        .map(|record| record.done.backend.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => "cpu".to_owned(),
        names => names.join(" and "),
    }
}

impl Timings {
    fn new(records: &[UnitRecord], done: &BTreeSet<Unit>, took_s: f64) -> Self {
        let mut all = Self {
            total_s: took_s,
            units_done: done.len() as u64,
            peak_memory_mib: memory_mib("VmHWM:"),
            ..Self::default()
        };
        let (mut working_s, mut n_events, mut waveforms) = (0.0, 0_u64, 0_u64);
        for record in records {
            let timings = &record.timings;
            all.reading_s += timings.reading_s;
            all.extracting_s += timings.extracting_s;
            all.writing_s += timings.writing_s;
            all.events_s += timings.events_s;
            working_s += timings.events_working_s;
            n_events += record
                .done
                .events
                .as_ref()
                .map_or(0, |events| events.events);
            if done.contains(&record.unit()) {
                waveforms += record.done.waveforms;
            }
            all.units.push(UnitTiming {
                input_id: record.done.input_id,
                block: record.done.block,
                waveforms_per_s: record.done.waveforms as f64 / timings.took_s.max(1e-9),
                timings: *timings,
            });
        }
        all.mean_event_ms = (n_events > 0).then(|| 1e3 * working_s / n_events as f64);
        all.waveforms_per_s = waveforms as f64 / took_s.max(1e-9);
        all
    }
}
