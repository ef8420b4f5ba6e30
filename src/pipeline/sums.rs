//! Checksums of the files that settings name and the result depends on.

use std::collections::BTreeMap;

use super::report::EventsPlan;
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::model::{Calibration, ChannelCalibration, Polarity};

/// Returns the checksums of detector, calibration, geometry and light maps, as far as they are used.
pub(super) fn collect(
    detector: Option<&Detector>,
    calibration: Option<&Calibration>,
    plan: &EventsPlan,
) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    if let EventsPlan::Present {
        light_maps,
        geometry_crc32c,
        ..
    } = plan
    {
        sums.insert("geometry".to_owned(), geometry_crc32c.clone());
        if let Some(maps) = light_maps {
            sums.insert("light maps".to_owned(), maps.crc32c.clone());
        }
    }
    if let Some(detector) = detector {
        sums.insert("detector".to_owned(), checksum_detector(detector)?);
    }
    if let Some(calibration) = calibration {
        let crc = format!("{:08x}", checksum_calibration(calibration));
        sums.insert("calibration".to_owned(), crc);
    }
    Ok(sums)
}

/// Returns the CRC32C of a detector's description, without the text for people, and of the positions of its PMTs.
fn checksum_detector(detector: &Detector) -> Result<String> {
    let described = Detector {
        description: String::new(),
        ..detector.clone()
    };
    let text = serde_json::to_string(&described)
        .map_err(|error| Error::internal(format!("the detector: {error}")))?;
    let mut crc = crc32c::crc32c(text.as_bytes());
    if let Some(sensors) = detector.sensors() {
        crc = crc32c::crc32c_append(crc, &sensors.crc32c().to_le_bytes());
    }
    Ok(format!("{crc:08x}"))
}

/// Returns the CRC32C of every column of a calibration. Lengths are part of it, so that a value cannot move from one column or
/// row to the next unnoticed.
fn checksum_calibration(calibration: &Calibration) -> u32 {
    let mut crc = 0;
    let mut add = |bytes: &[u8]| crc = crc32c::crc32c_append(crc, bytes);
    add(&(calibration.rows().len() as u64).to_le_bytes());
    for row in calibration.rows() {
        // Destructured, so that a new column cannot be forgotten here.
        let ChannelCalibration {
            template_adc,
            noise_adc,
            time_offset_ns,
            dark_rate_hz,
            charge_sigma_pe,
            time_sigma_ns,
            sampling_ns,
            baseline_noise_ratio,
            flags,
            // Nothing is reconstructed from it.
            measurement: _,
        } = row;
        add(&(template_adc.len() as u64).to_le_bytes());
        for value in template_adc {
            add(&value.to_le_bytes());
        }
        for value in [
            noise_adc,
            time_offset_ns,
            dark_rate_hz,
            charge_sigma_pe,
            time_sigma_ns,
            sampling_ns,
            baseline_noise_ratio,
        ] {
            add(&value.to_le_bytes());
        }
        add(&flags.0.to_le_bytes());
    }
    let channels = calibration.channels();
    add(&(channels.len() as u64).to_le_bytes());
    for (channel, row) in channels {
        add(&channel.to_le_bytes());
        add(&(row as u64).to_le_bytes());
    }
    let default_row = calibration.default_row().map_or(u64::MAX, |row| row as u64);
    add(&default_row.to_le_bytes());
    add(calibration.polarity().map_or("", Polarity::name).as_bytes());
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Flags;

    /// A calibration of rows with these templates, noises, offsets and sampling intervals.
    fn calibration(rows: &[(&[f32], [f32; 3])]) -> Calibration {
        let mut calibration = Calibration::new();
        for (template, [noise_adc, time_offset_ns, sampling_ns]) in rows {
            let row = ChannelCalibration {
                template_adc: template.to_vec(),
                noise_adc: *noise_adc,
                time_offset_ns: *time_offset_ns,
                dark_rate_hz: 0.0,
                charge_sigma_pe: 0.0,
                time_sigma_ns: 0.0,
                sampling_ns: *sampling_ns,
                baseline_noise_ratio: 1.0,
                flags: Flags::NONE,
                measurement: None,
            };
            calibration.add_row(row).expect("a valid row");
        }
        calibration
    }

    #[test]
    fn a_value_that_moves_to_another_row_changes_the_checksum() {
        let long_first = calibration(&[
            (&[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]),
            (&[7.0, 8.0], [9.0, 10.0, 11.0]),
        ]);
        let long_second = calibration(&[
            (&[1.0, 2.0], [3.0, 4.0, 5.0]),
            (&[6.0, 7.0, 8.0], [9.0, 10.0, 11.0]),
        ]);
        assert_ne!(
            checksum_calibration(&long_first),
            checksum_calibration(&long_second)
        );
    }

    #[test]
    fn the_default_row_changes_the_checksum() {
        let one = calibration(&[(&[1.0], [1.0, 0.0, 1.0]), (&[2.0], [1.0, 0.0, 1.0])]);
        let (mut first, mut second) = (one.clone(), one.clone());
        first.set_default(0);
        second.set_default(1);
        let sums = [&one, &first, &second].map(checksum_calibration);
        assert!(sums[0] != sums[1] && sums[1] != sums[2] && sums[0] != sums[2]);
    }
}
