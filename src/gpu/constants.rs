//! Constants that shaders share with their twins, as text: they stand once, in `src/extract`.

use std::fmt::Write as _;

use crate::extract::{glance, normal, prior, propose, prune, response, seeds, shorten, sparse};

/// Those of seeds and first look, which the extraction has.
#[must_use]
pub fn of_extraction() -> String {
    let mut text = String::new();
    whole(&mut text, "MOST", sparse::MOST);
    real(&mut text, "SEED_GAP", seeds::SEED_GAP);
    real(&mut text, "SEED_REST", seeds::SEED_REST);
    real(&mut text, "SEED_LEAST_PE", sparse::LEAST_PE);
    real(&mut text, "GLANCE_LIT_SIGMA", glance::LIT_SIGMA);
    real(&mut text, "GLANCE_LOW_SIGMA", glance::LOW_SIGMA);
    real(&mut text, "GLANCE_LEAST_SHARE", glance::LEAST_SHARE);
    whole(&mut text, "GLANCE_FEWEST", glance::FEWEST);
    text
}

/// Those of the fit.
#[must_use]
pub fn of_fit() -> String {
    let mut text = String::new();
    for (name, value) in [
        ("MOST", sparse::MOST),
        ("MOST_PROPOSALS", propose::MOST_PROPOSALS),
        ("ROUNDS", sparse::ROUNDS),
        ("STEPS", sparse::STEPS),
        ("LAST_STEPS", sparse::LAST_STEPS),
        ("STIFFENED", sparse::STIFFENED),
        ("PLENTY", propose::PLENTY),
        ("PADDING", response::PADDING),
    ] {
        whole(&mut text, name, value);
    }
    for (name, value) in [
        ("SPLIT_GAIN", propose::SPLIT_GAIN),
        ("LEAST_GAIN", propose::LEAST_GAIN),
        ("ADD_GAIN", propose::ADD_GAIN),
        ("ADD_LOOK", propose::ADD_LOOK),
        ("SIGNIFICANCE", prune::SIGNIFICANCE),
        ("SEVERAL_PE", sparse::SEVERAL_PE),
        ("TOGETHER_PE", prune::TOGETHER_PE),
        ("LEAST_PE", sparse::LEAST_PE),
        ("NOTHING_PE", sparse::NOTHING_PE),
        ("STILL", sparse::STILL),
        ("LAST_STILL", sparse::LAST_STILL),
        ("LONGEST_STEP", sparse::LONGEST_STEP),
        ("NEIGHBOURS", sparse::NEIGHBOURS),
        ("APPROACH", sparse::APPROACH),
        ("HOLD", prior::HOLD),
        ("SLOPE", prior::SLOPE),
        ("REPULSION", prior::REPULSION),
        ("LEAST_DISTANCE", prior::LEAST_DISTANCE),
        ("LEAST_CHARGE_PE", prior::LEAST_CHARGE_PE),
        ("SHORTER", shorten::SHORTER),
        ("SHORTER_AT", shorten::SHORTER_AT),
        ("SHORTER_WITHIN", shorten::SHORTER_WITHIN),
        ("TWO_PE", shorten::TWO_PE.0),
        ("MORE_THAN_TWO_PE", shorten::TWO_PE.1),
        ("APART", propose::APART),
        ("SPLIT_LEAST", propose::SPLIT.0),
        ("SPLIT_MOST", propose::SPLIT.1),
        ("SPLIT_WORTH", propose::SPLIT_WORTH),
        ("AROUND", propose::AROUND),
        ("LEAST_LEFT", propose::LEAST_LEFT),
        ("TEMPLATE_ERROR", propose::TEMPLATE_ERROR),
        ("RINGING", propose::RINGING),
        ("TAIL", propose::TAIL),
        ("WORSE", sparse::WORSE),
        ("DAMPING_FIRST", sparse::DAMPING.0),
        ("DAMPING_MORE", sparse::DAMPING.1),
        ("DAMPING_LESS", sparse::DAMPING.2),
        ("TOO_FAR", sparse::TOO_FAR),
        ("MISFIT", sparse::MISFIT),
        ("MISFIT_NOISE", sparse::MISFIT_NOISE),
        ("RIDGE", normal::RIDGE),
        ("LEAST_PIVOT", normal::LEAST_PIVOT),
        ("LEAST_INSIDE", normal::LEAST_INSIDE),
        ("INSIDE", sparse::INSIDE),
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
