//! The constants of the template fit, for the Rust code and, through `gpu`, for the WGSL text.
//!
//! Charges are in mean charges of a photoelectron (PE). Times and distances of pulses are in units of the template's scale, the distance
//! at which two pulses look different (`Template::scale`), unless stated otherwise. Gains are in chi-square.

/// Most pulses of a fit; waveforms with more keep their deconvolved hits.
pub(crate) const MAX_PULSES: usize = 48;

// Hits.

/// Share of the template's squares that the window has to hold for a hit that is not flagged as truncated.
pub(crate) const CONTAINED_SHARE: f32 = 0.98;
/// Charge above which a hit is flagged as several photoelectrons: midway between one and two, one spread of 30 % above.
pub(crate) const PILE_UP_PE: f32 = 1.7;

// Charges.

/// Charge below which a pulse is not significant, whatever the noise.
pub(crate) const MIN_CHARGE_PE: f32 = 0.15;
/// Charge at which a pulse is dropped during the iteration.
pub(crate) const DROPPED_CHARGE_PE: f32 = 0.02;
/// Least charge by which the columns of times are scaled, so that times of pulses without charge stay finite.
pub(crate) const MIN_COLUMN_CHARGE_PE: f32 = 0.05;

// Iteration.

/// Rounds of adding pulses and fitting; few waveforms need more than two.
pub(crate) const MAX_ROUNDS: usize = 4;
/// Steps per round.
pub(crate) const MAX_STEPS: usize = 8;
/// Gain of a step below which the iteration of a round ends.
pub(crate) const CHI2_TOL: f32 = 0.1;
/// Steps of the final iteration, after which no pulse is added or pruned.
pub(crate) const MAX_FINAL_STEPS: usize = 16;
/// Gain of a step below which the final iteration ends: small enough that the rounding of sums, which differs on a GPU, does not show.
pub(crate) const FINAL_CHI2_TOL: f32 = 1e-6;
/// Longest step in time.
pub(crate) const MAX_TIME_STEP: f32 = 0.2;
/// Longest step towards a neighbour, as a share of the distance; below 0.5, so that pulses cannot pass each other.
pub(crate) const MAX_APPROACH: f32 = 0.4;
/// Ratio to [`MAX_TIME_STEP`] above which a step is solved for again with more damping.
pub(crate) const MAX_STEP_RATIO: f32 = 1.5;
/// Solutions per step, until no step is too long.
pub(crate) const MAX_SOLVES: usize = 3;
/// Growth of the residual's squares above which a step is reverted.
pub(crate) const MAX_CHI2_GROWTH: f32 = 1.02;
/// Relative increase of the diagonal after the first reverted step (Levenberg and Marquardt).
pub(crate) const FIRST_DAMPING: f32 = 1e-3;
/// Factor of the damping after a further reverted step.
pub(crate) const DAMPING_INCREASE: f32 = 10.0;
/// Factor of the damping after an accepted step.
pub(crate) const DAMPING_DECREASE: f32 = 0.1;
/// Residual above which the fit does not describe the waveform, in units of the noise, ...
pub(crate) const MAX_MISFIT_NOISE: f32 = 1.5;
/// ... plus this share of the root mean square of the pulses: templates are not known better.
pub(crate) const MAX_MISFIT_SHARE: f32 = 0.003;

/// Chi-square per degree of freedom above which it has overflowed and the fit fails. Shaders cannot test for infinity.
pub(crate) const MAX_CHI2_NDF: f32 = 3e38;

// Normal equations.

/// Relative increase of the diagonal.
pub(crate) const RIDGE: f32 = 3e-5;
/// Least pivot, relative to the diagonal: smaller ones are rounding errors of single precision.
pub(crate) const MIN_PIVOT: f32 = 1e-6;
/// Least share of a template's squares inside the window.
pub(crate) const MIN_INSIDE_SHARE: f32 = 1e-3;

// Priors.

/// Distance at which pulses are neighbours.
pub(crate) const NEIGHBOUR_DISTANCE: f32 = 1.6;
/// Standard deviation of the time of a pulse with neighbours about its start.
pub(crate) const TIME_PRIOR_SIGMA: f32 = 1.0;
/// Huber's constant: standard deviations above 1 PE at which the charge prior turns from a parabola into a straight line.
pub(crate) const HUBER_K: f32 = 1.345;
/// Strength kappa of the repulsion of neighbours.
pub(crate) const REPULSION: f32 = 0.4;
/// Distance below which the repulsion no longer grows.
pub(crate) const MIN_DISTANCE: f32 = 0.03;

// Adding pulses.

/// Most proposals per round: every pulse may be split.
pub(crate) const MAX_PROPOSALS: usize = MAX_PULSES + 16;
/// Gain for a split at the charge that one and two photoelectrons have equally often: -2 ln of the probability that a photoelectron has
/// another one too close to be seen, times sqrt(2) for the ratio of the widths.
pub(crate) const SPLIT_GAIN: f32 = 6.0;
/// Least gain for a split. Where no more is required, the charge alone decides.
pub(crate) const MIN_SPLIT_GAIN: f32 = 0.5;
/// Number of pulses from which the charge alone does not split: single photoelectrons are then of no interest.
pub(crate) const MIN_PULSES_FOR_SHAPE: usize = 16;
/// Gain for a missed photoelectron.
pub(crate) const ADD_GAIN: f32 = 12.0;
/// Share of [`ADD_GAIN`] that the residual alone has to gain before the other columns are projected out.
pub(crate) const ADD_SEARCH_SHARE: f32 = 0.3;
/// Least share of a column's squares that counts as unexplained by the other columns.
pub(crate) const MIN_UNEXPLAINED_SHARE: f32 = 0.02;
/// Error of the template at the pulse itself, as a share of its height.
pub(crate) const TEMPLATE_ERROR: f32 = 0.005;
/// Error of the template after the pulse, where cables and bases ring.
pub(crate) const RINGING_ERROR: f32 = 0.03;
/// Length of the ringing.
pub(crate) const RINGING_LENGTH: f32 = 16.0;
/// Distance within which only the proposal with the highest gain is accepted.
pub(crate) const SPLIT_ISOLATION: f32 = 1.6;
/// Least distance of the two pulses of a split from its centre.
pub(crate) const MIN_SPLIT_OFFSET: f32 = 0.14;
/// Largest distance of the two pulses of a split from its centre.
pub(crate) const MAX_SPLIT_OFFSET: f32 = 1.1;
/// Estimated distance from the centre below which a pulse is not split.
pub(crate) const SPLIT_OFFSET_THRESHOLD: f32 = 0.07;
/// Range around pulses that is searched for missed photoelectrons.
pub(crate) const SEARCH_RANGE: f32 = 6.0;

// Pruning.

/// Least significance of a charge, in standard deviations.
pub(crate) const MIN_SIGNIFICANCE: f32 = 3.85;
/// Total charge above which a pulse and its neighbour are not merged.
pub(crate) const MAX_MERGED_PE: f32 = 1.9;

// Correction of separations, close to the median of the posterior (see pair_separation.rs).

/// Largest relative bias of a separation.
pub(crate) const SEPARATION_BIAS: f32 = 0.2;
/// Separation m, in units of the noise, at which the bias is largest.
pub(crate) const SEPARATION_BIAS_CENTRE: f32 = 0.92;
/// Distance in m from there at which the bias vanishes.
pub(crate) const SEPARATION_BIAS_WIDTH: f32 = 1.2;
/// Total charge up to which a pair is two photoelectrons and corrected in full.
pub(crate) const MAX_PAIR_PE: f32 = 2.5;
/// Total charge from which a pair is more than two photoelectrons and not corrected.
pub(crate) const MIN_SEVERAL_PE: f32 = 3.5;

// Seeds.

/// Least distance of two seeds of one hit, in standard deviations of the deconvolution kernel.
pub(crate) const MIN_SEED_DISTANCE: f32 = 0.4;
/// Share of a photoelectron's charge that makes a seed of its own at the end of a hit.
pub(crate) const MIN_SEED_SHARE: f32 = 0.3;
