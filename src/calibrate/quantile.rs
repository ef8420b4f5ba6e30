//! The median of samples.

/// Returns the median (the upper one of an even number), and 0 of none. The order of `values` changes.
pub(super) fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}
