//! The n-th smallest of a few numbers, which baseline and residual baseline need once per waveform.
//!
//! Sorting branches on every comparison, and on noise half of the branch predictions are wrong. For the few dozen blocks of a usual
//! waveform it is faster to count for each value how many are smaller: n^2 comparisons without branches.

use multiversion::multiversion;

use super::load_samples::greater;

/// Values that are ranked at a time.
const LANES: usize = 32;

/// Returns the `n`-th smallest of `values`, counted from 0, or 0 if there is no such value. Values must not be NaN; their order is lost.
#[must_use]
pub fn select_nth(values: &mut [f32], n: usize) -> f32 {
    if n >= values.len() {
        return 0.0;
    }
    match values.len() {
        0..=32 => select_by_rank(&padded::<32>(values), n as u32),
        33..=64 => select_by_rank(&padded::<64>(values), n as u32),
        _ => *values.select_nth_unstable_by(n, f32::total_cmp).1,
    }
}

fn padded<const N: usize>(values: &[f32]) -> [f32; N] {
    let mut all = [f32::INFINITY; N];
    for (slot, &value) in all.iter_mut().zip(values) {
        *slot = value;
    }
    all
}

/// Returns the largest value with at most `n` smaller ones.
#[multiversion(targets = "simd")]
fn select_by_rank<const N: usize>(values: &[f32; N], n: u32) -> f32 {
    let mut found = [f32::NEG_INFINITY; LANES];
    for some in values.as_chunks::<LANES>().0 {
        let mut smaller = [0_u32; LANES];
        for &other in values {
            for lane in 0..LANES {
                smaller[lane] += u32::from(other < some[lane]);
            }
        }
        for lane in 0..LANES {
            let candidate = if smaller[lane] <= n {
                some[lane]
            } else {
                f32::NEG_INFINITY
            };
            found[lane] = greater(candidate, found[lane]);
        }
    }
    // Lane by lane only at the end: within the loop above that would branch.
    found.into_iter().fold(f32::NEG_INFINITY, greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_value_that_sorting_gives(mut values in prop::collection::vec(-3_i8..3, 1..100), n in 0_usize..100) {
            let mut floats: Vec<f32> = values.iter().map(|&value| f32::from(value)).collect();
            values.sort_unstable();
            let expected = values.get(n).map_or(0.0, |&value| f32::from(value));
            prop_assert_eq!(select_nth(&mut floats, n), expected);
        }
    }
}
