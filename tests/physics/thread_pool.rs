//! The global thread pool of rayon belongs to the program: the library never starts it.

use nuwave::extract::{Backend as _, DigitizerConfig, Extractor, Parameters};
use nuwave::model::{Batch, SamplesRef, Waveform};
use rayon::ThreadPoolBuilder;

#[test]
fn extraction_leaves_the_global_pool_to_the_program() {
    let detector = nuwave::detector::load("juno").expect("a preset");
    let readout = DigitizerConfig {
        sampling_ns: detector.readout.sampling_ns,
        polarity: detector.readout.polarity,
        adc_bits: Some(detector.readout.adc_bits),
    };
    let calibration = detector.nominal_calibration().expect("templates");
    let extractor = Extractor::new(calibration, readout, Parameters::default());
    let mut batch = Batch::new_u16(0);
    for channel_id in 0..300 {
        batch.push(Waveform {
            event_id: 0,
            channel_id,
            start_ns: 0.0,
            samples: SamplesRef::U16(&[1000; 256]),
        });
    }
    let extracted = extractor.expect("a preset").extract(&batch);
    assert_eq!(extracted.expect("hits").summaries.len(), 300);
    ThreadPoolBuilder::new()
        .num_threads(2)
        .build_global()
        .expect("nobody has started it");
}
