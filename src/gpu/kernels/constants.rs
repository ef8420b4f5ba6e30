//! The constants that host and shaders share, as WGSL text. Constants of a stage are defined once, in its file under `src/extract`;
//! the others in `numbers.rs`.

use std::fmt::{Display, Write as _};

use super::numbers::{
    ALONE_AFTER, ALONE_BEFORE, ANGLES_AT, FLAGS_SHIFT, FitNumber, HEADER_WORDS, Header, LANES,
    LEADS, LEFT_TO_CPU, MethodNumber, TILE,
};
use crate::extract::deconvolution::{
    charge, cut_pulse, deconvolve, moving_baseline, residual_baseline, time,
};
use crate::extract::template_fit::{config, template};
use crate::extract::threshold::over_threshold;
use crate::extract::{Stage, baseline, empty_waveform, flat_top, glitches, load_samples, padding};
use crate::model::Flags;

/// Writes constants of one module under their own names.
macro_rules! constants {
    ($text:ident, $write:ident, $module:ident: $($name:ident)*) => {
        $($write(&mut $text, stringify!($name), $module::$name);)*
    };
}

/// Returns the layout of a waveform's state.
#[must_use]
pub fn state() -> String {
    let mut text = String::new();
    for (word, name) in Header::ALL {
        integer(&mut text, name, word as u32);
    }
    for (name, value) in [
        ("HEADER_WORDS", HEADER_WORDS),
        ("LEADS", LEADS),
        ("ALONE_BEFORE", ALONE_BEFORE),
        ("ALONE_AFTER", ALONE_AFTER),
        ("FLAGS_SHIFT", FLAGS_SHIFT),
    ] {
        integer(&mut text, name, value);
    }
    text
}

/// Returns the bits of all flags, under their names in capitals.
#[must_use]
pub fn flags() -> String {
    let mut text = String::new();
    for (flag, name, _) in Flags::ALL {
        integer(&mut text, &name.to_uppercase(), flag.0);
    }
    integer(&mut text, "LEFT_TO_CPU", LEFT_TO_CPU);
    text
}

/// Returns the numbers of methods, fits and stages.
#[must_use]
pub fn methods() -> String {
    let mut text = String::new();
    for (method, name) in MethodNumber::ALL {
        integer(&mut text, name, method as u32);
    }
    for (fit, name) in FitNumber::ALL {
        integer(&mut text, name, fit as u32);
    }
    for stage in Stage::ALL {
        let name = format!("STAGE_{}", stage.name().to_uppercase());
        integer(&mut text, &name, stage as u32);
    }
    text
}

/// Returns the constants of the extraction kernel for all methods.
#[must_use]
pub fn extraction() -> String {
    let mut text = String::new();
    integer(&mut text, "ANGLES_AT", ANGLES_AT);
    constants!(text, integer, load_samples: MIN_SATURATED);
    constants!(text, integer, padding: MIN_PADDING_RUN MIN_PADDING_REST);
    constants!(text, real, padding: MIN_PADDING_JUMP);
    constants!(text, real, glitches: MIN_GLITCH MIN_GLITCH_RANGE MAX_END_RATIO);
    constants!(text, real, flat_top: MIN_FLAT_TOP PLATEAU_DEPTH MIN_PLATEAU_RATIO MIN_PLATEAU_SAMPLES);
    constants!(text, real, baseline: NOISE_QUANTILE CLUSTER_SIGMA);
    constants!(text, real, load_samples: ROUNDING_ADC);
    constants!(text, integer, baseline: MIN_BASELINE_BLOCKS);
    constants!(text, reals, baseline: NOISE_QUANTILE_OF_GAUSSIAN QUIET_VARIANCE);
    constants!(text, real, empty_waveform: EMPTY_MAX_ABOVE_SIGMA EMPTY_MAX_BELOW_SIGMA EMPTY_MIN_SHARE);
    constants!(text, integer, empty_waveform: EMPTY_MIN_BLOCKS);
    constants!(text, integer, deconvolve: LEVEL_SAMPLES BLOCK);
    constants!(text, real, cut_pulse: CUT_PULSE_SIGMA);
    constants!(text, integer, residual_baseline: MIN_PAIRED_BLOCKS MIN_LONG_BLOCKS);
    constants!(text, real, residual_baseline: LEVEL_QUANTILE LEVEL_QUANTILE_SIGMA LIT_SIGMA MAX_NOISE_RATIO MIN_NOISE_SAMPLES
        MIN_UNLIT_BLOCKS DRIFT_SIGMA);
    constants!(text, integer, moving_baseline: GROUP_SAMPLES MIN_LONG_TRACE);
    constants!(text, real, moving_baseline: MAX_BLOCK_SIGMA SUSPECT_BLOCK_BELOW SUSPECT_GROUP_BELOW SUSPECT_PAIR SUSPECT_FLAT_SHARE SUSPECT_ALL_ABOVE CERTAIN_LIGHT
        QUIET_BLOCK MIN_QUIET_SHARE);
    constants!(text, real, charge: EDGE_CHARGE_SHARE MIN_SEEN_SHARE PILE_UP_RATIO);
    constants!(text, real, time: EDGE_SIGMA EDGE_PEAK_SHARE EARLY_SIGMA);
    constants!(text, real, over_threshold: EDGE_HEIGHT_SHARE);
    constants!(text, integer, config: MAX_PULSES);
    constants!(text, real, config: MIN_SEED_DISTANCE MIN_SEED_SHARE MIN_CHARGE_PE);
    text
}

/// Returns the constants of the kernel of the template fit.
#[must_use]
pub fn template_fit() -> String {
    let mut text = String::new();
    integer(&mut text, "LANES", LANES);
    integer(&mut text, "TILE", TILE);
    constants!(text, integer, template: PADDING);
    constants!(text, integer, config: MAX_PULSES MAX_PROPOSALS MAX_ROUNDS MAX_STEPS MAX_FINAL_STEPS MAX_SOLVES MIN_PULSES_FOR_SHAPE);
    constants!(text, real, config: CONTAINED_SHARE PILE_UP_PE MIN_CHARGE_PE DROPPED_CHARGE_PE MIN_COLUMN_CHARGE_PE CHI2_TOL
        FINAL_CHI2_TOL MAX_TIME_STEP MAX_APPROACH MAX_STEP_RATIO MAX_CHI2_GROWTH FIRST_DAMPING DAMPING_INCREASE DAMPING_DECREASE
        MAX_MISFIT_NOISE MAX_MISFIT_SHARE MAX_CHI2_NDF RIDGE MIN_PIVOT MIN_INSIDE_SHARE NEIGHBOUR_DISTANCE TIME_PRIOR_SIGMA HUBER_K REPULSION
        MIN_DISTANCE SPLIT_GAIN MIN_SPLIT_GAIN ADD_GAIN ADD_SEARCH_SHARE MIN_UNEXPLAINED_SHARE TEMPLATE_ERROR RINGING_ERROR
        RINGING_LENGTH SPLIT_ISOLATION MIN_SPLIT_OFFSET MAX_SPLIT_OFFSET SPLIT_OFFSET_THRESHOLD SEARCH_RANGE MIN_SIGNIFICANCE
        MAX_MERGED_PE SEPARATION_BIAS SEPARATION_BIAS_CENTRE SEPARATION_BIAS_WIDTH MAX_PAIR_PE MIN_SEVERAL_PE);
    text
}

fn integer(text: &mut String, name: &str, value: impl Display + Copy) {
    let _ = writeln!(text, "const {name}: u32 = {value}u;");
}

fn real(text: &mut String, name: &str, value: f32) {
    let _ = writeln!(text, "const {name}: f32 = {value:e};");
}

fn reals<const N: usize>(text: &mut String, name: &str, values: [f32; N]) {
    let values: Vec<String> = values.iter().map(|value| format!("{value:e}")).collect();
    let values = values.join(", ");
    let _ = writeln!(text, "const {name} = array<f32, {N}>({values});");
}
