//! Constants that shaders share with their twins, as text: they stand once, in `src/extract`.

use std::fmt::Write as _;

use crate::extract::empty_waveform;
use crate::extract::template_fit::{
    add_pulses, fit, normal_equations, pair_separation, priors, prune, seeds, template,
};

/// Those of seeds and first look, which the extraction has.
#[must_use]
pub fn of_extraction() -> String {
    let mut text = String::new();
    whole(&mut text, "MOST", fit::MOST);
    real(&mut text, "SEED_GAP", seeds::SEED_GAP);
    real(&mut text, "SEED_REST", seeds::SEED_REST);
    real(&mut text, "SEED_LEAST_PE", fit::LEAST_PE);
    real(&mut text, "GLANCE_LIT_SIGMA", empty_waveform::LIT_SIGMA);
    real(&mut text, "GLANCE_LOW_SIGMA", empty_waveform::LOW_SIGMA);
    real(&mut text, "GLANCE_LEAST_SHARE", empty_waveform::LEAST_SHARE);
    whole(&mut text, "GLANCE_FEWEST", empty_waveform::FEWEST);
    text
}

/// Those of the fit.
#[must_use]
pub fn of_fit() -> String {
    let mut text = String::new();
    for (name, value) in [
        ("MOST", fit::MOST),
        ("MOST_PROPOSALS", add_pulses::MOST_PROPOSALS),
        ("ROUNDS", fit::ROUNDS),
        ("STEPS", fit::STEPS),
        ("LAST_STEPS", fit::LAST_STEPS),
        ("STIFFENED", fit::STIFFENED),
        ("PLENTY", add_pulses::PLENTY),
        ("PADDING", template::PADDING),
    ] {
        whole(&mut text, name, value);
    }
    for (name, value) in [
        ("SPLIT_GAIN", add_pulses::SPLIT_GAIN),
        ("LEAST_GAIN", add_pulses::LEAST_GAIN),
        ("ADD_GAIN", add_pulses::ADD_GAIN),
        ("ADD_LOOK", add_pulses::ADD_LOOK),
        ("SIGNIFICANCE", prune::SIGNIFICANCE),
        ("SEVERAL_PE", fit::SEVERAL_PE),
        ("TOGETHER_PE", prune::TOGETHER_PE),
        ("LEAST_PE", fit::LEAST_PE),
        ("NOTHING_PE", fit::NOTHING_PE),
        ("STILL", fit::STILL),
        ("LAST_STILL", fit::LAST_STILL),
        ("LONGEST_STEP", fit::LONGEST_STEP),
        ("NEIGHBOURS", fit::NEIGHBOURS),
        ("APPROACH", fit::APPROACH),
        ("HOLD", priors::HOLD),
        ("SLOPE", priors::SLOPE),
        ("REPULSION", priors::REPULSION),
        ("LEAST_DISTANCE", priors::LEAST_DISTANCE),
        ("LEAST_CHARGE_PE", priors::LEAST_CHARGE_PE),
        ("SHORTER", pair_separation::SHORTER),
        ("SHORTER_AT", pair_separation::SHORTER_AT),
        ("SHORTER_WITHIN", pair_separation::SHORTER_WITHIN),
        ("TWO_PE", pair_separation::TWO_PE.0),
        ("MORE_THAN_TWO_PE", pair_separation::TWO_PE.1),
        ("APART", add_pulses::APART),
        ("SPLIT_LEAST", add_pulses::SPLIT.0),
        ("SPLIT_MOST", add_pulses::SPLIT.1),
        ("SPLIT_WORTH", add_pulses::SPLIT_WORTH),
        ("AROUND", add_pulses::AROUND),
        ("LEAST_LEFT", add_pulses::LEAST_LEFT),
        ("TEMPLATE_ERROR", add_pulses::TEMPLATE_ERROR),
        ("RINGING", add_pulses::RINGING),
        ("TAIL", add_pulses::TAIL),
        ("WORSE", fit::WORSE),
        ("DAMPING_FIRST", fit::DAMPING.0),
        ("DAMPING_MORE", fit::DAMPING.1),
        ("DAMPING_LESS", fit::DAMPING.2),
        ("TOO_FAR", fit::TOO_FAR),
        ("MISFIT", fit::MISFIT),
        ("MISFIT_NOISE", fit::MISFIT_NOISE),
        ("RIDGE", normal_equations::RIDGE),
        ("LEAST_PIVOT", normal_equations::LEAST_PIVOT),
        ("LEAST_INSIDE", normal_equations::LEAST_INSIDE),
        ("INSIDE", fit::INSIDE),
    ] {
        real(&mut text, name, value);
    }
    text
}

fn whole(text: &mut String, name: &str, value: usize) {
    let _ = writeln!(text, "const {name}: u32 = {value}u;");
}

fn real(text: &mut String, name: &str, value: f32) {
    let _ = writeln!(text, "const {name}: f32 = {value:e};");
}
