//! Checksums of the files that settings name and the result depends on.

use std::collections::BTreeMap;

use super::report_events::EventsPlan;
use crate::model::Calibration;

/// Returns the checksums of calibration, geometry and light maps, as far as they are used.
pub(super) fn collect(
    calibration: Option<&Calibration>,
    plan: &EventsPlan,
) -> BTreeMap<String, String> {
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
    if let Some(calibration) = calibration {
        sums.insert("calibration".to_owned(), checksum_calibration(calibration));
    }
    sums
}

/// Returns the CRC32C of a calibration's templates and constants.
fn checksum_calibration(calibration: &Calibration) -> String {
    let mut crc = 0;
    for row in calibration.rows() {
        for value in
            row.template_adc
                .iter()
                .chain([&row.noise_adc, &row.time_offset_ns, &row.sampling_ns])
        {
            crc = crc32c::crc32c_append(crc, &value.to_le_bytes());
        }
    }
    for (channel, row) in calibration.channels() {
        crc = crc32c::crc32c_append(crc, &channel.to_le_bytes());
        crc = crc32c::crc32c_append(crc, &(row as u64).to_le_bytes());
    }
    format!("{crc:08x}")
}
