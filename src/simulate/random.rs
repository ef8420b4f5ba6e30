//! Random numbers that do not depend on the order of use: one stream per seed, event, channel and purpose.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::math;

/// The purpose of a stream of random numbers. Purposes do not share numbers, so that changing the noise leaves
/// the light as it was. The numbers are part of the key: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Purpose {
    /// Number, times and charges of the photoelectrons of an event.
    Light = 1,
    /// Dark photoelectrons.
    Dark = 2,
    /// White noise.
    WhiteNoise = 3,
    /// Coloured noise.
    ColouredNoise = 4,
    /// The channel's own baseline; the same in every event.
    Baseline = 5,
    /// Phase of the event's light between two samples; the same in every channel.
    Phase = 6,
    /// Position, energy and time of an event.
    Vertex = 7,
    /// Distribution of a particle's energy over points.
    Deposits = 8,
    /// Photons of an event, to the photoelectrons they make.
    Photons = 9,
    /// Errors of a hit finder in time and charge.
    HitNoise = 10,
    /// A PMT's own efficiency; the same in every event.
    Efficiency = 11,
    /// A channel's own time offset; the same in every event.
    TimeOffset = 12,
    /// Photons from the centre that the light yield is normalised with.
    Normalisation = 13,
}

/// Returns the stream of `seed`, `event_id`, `channel_id` and `purpose`.
pub(super) fn stream(seed: u64, event_id: u64, channel_id: u32, purpose: Purpose) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&event_id.to_le_bytes());
    key[16..20].copy_from_slice(&channel_id.to_le_bytes());
    key[20..24].copy_from_slice(&(purpose as u32).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// Bins of equal probability in the table of the normal distribution.
const BINS: usize = 4096;
/// Bits of a random word for the position within a bin.
const BITS_IN_BIN: u32 = 32 - BINS.trailing_zeros();
const IN_BIN: u32 = 1 << BITS_IN_BIN;
/// Random words per block.
const WORDS: usize = 512;

/// Adds `sigma` x a standard normal number to each sample; each sample takes one 32-bit word of `rng`.
pub(super) fn add_white_noise(samples: &mut [f32], sigma: f32, rng: &mut ChaCha8Rng) {
    let table = &*NORMAL;
    let mut bytes = [0_u8; 4 * WORDS];
    for block in samples.chunks_mut(WORDS) {
        let bytes = &mut bytes[..4 * block.len()];
        rng.fill_bytes(bytes);
        for (sample, word) in block.iter_mut().zip(bytes.chunks_exact(4)) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            *sample += sigma * table.value(word);
        }
    }
}

/// The normal distribution's quantiles at the edges of bins of equal probability, straight lines between them.
/// The outermost bins, which have no outer edge, are looked up in the distribution function itself.
struct NormalTable {
    edges: Vec<f32>,
    /// The lower tail of the distribution function at [`TAIL_FROM`] + k x [`TAIL_STEP`].
    tail: Vec<f64>,
}

const TAIL_FROM: f64 = -9.0;
const TAIL_STEP: f64 = 1.0 / 1024.0;

static NORMAL: LazyLock<NormalTable> = LazyLock::new(NormalTable::new);

impl NormalTable {
    fn new() -> Self {
        let density = |z: f64| math::exp(-0.5 * z * z) / TAU.sqrt();
        let steps = (-TAIL_FROM / TAIL_STEP) as usize;
        let mut tail = vec![0.0];
        for step in 0..steps {
            let left = TAIL_FROM + step as f64 * TAIL_STEP;
            // Simpson's rule.
            let area = TAIL_STEP / 6.0
                * (density(left)
                    + 4.0 * density(left + 0.5 * TAIL_STEP)
                    + density(left + TAIL_STEP));
            tail.push(tail[step] + area);
        }
        let mut table = Self {
            edges: Vec::new(),
            tail,
        };
        let half = BINS / 2;
        let lower: Vec<f32> = (0..half)
            .map(|edge| table.lower_quantile(edge as f64 / BINS as f64) as f32)
            .collect();
        table.edges.extend(&lower);
        table.edges.push(0.0);
        table.edges.extend(lower.iter().rev().map(|z| -z));
        table
    }

    /// The quantile of `probability` up to one half.
    fn lower_quantile(&self, probability: f64) -> f64 {
        let right = self
            .tail
            .partition_point(|&below| below < probability)
            .clamp(1, self.tail.len() - 1);
        let (below, above) = (self.tail[right - 1], self.tail[right]);
        let share = ((probability - below) / (above - below)).clamp(0.0, 1.0);
        TAIL_FROM + TAIL_STEP * ((right - 1) as f64 + share)
    }

    #[inline]
    fn value(&self, word: u32) -> f32 {
        let bin = (word >> BITS_IN_BIN) as usize;
        let in_bin = word & (IN_BIN - 1);
        if bin == 0 || bin == BINS - 1 {
            return self.tail_value(bin, in_bin);
        }
        let (low, high) = (self.edges[bin], self.edges[bin + 1]);
        low + (high - low) * (in_bin as f32 * (1.0 / IN_BIN as f32))
    }

    #[cold]
    fn tail_value(&self, bin: usize, in_bin: u32) -> f32 {
        let probability = (f64::from(in_bin) + 0.5) / f64::from(IN_BIN) / BINS as f64;
        let z = self.lower_quantile(probability) as f32;
        if bin == 0 { z } else { -z }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_normal_distribution() {
        // All bins, evenly filled: the moments are those of a standard normal, without any chance.
        let per_bin = 64;
        let (mut n, mut mean, mut square, mut fourth, mut beyond_two) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for word in 0..(BINS as u32 * per_bin) {
            let z = f64::from(NORMAL.value(word * (IN_BIN / per_bin) + IN_BIN / per_bin / 2));
            n += 1.0;
            mean += z;
            square += z * z;
            fourth += z.powi(4);
            beyond_two += f64::from(u8::from(z > 1.959_964));
        }
        assert!((mean / n).abs() < 1e-6, "{}", mean / n);
        assert!((square / n - 1.0).abs() < 1e-4, "{}", square / n);
        assert!((fourth / n - 3.0).abs() < 0.01, "{}", fourth / n);
        assert!((beyond_two / n - 0.025).abs() < 1e-5, "{}", beyond_two / n);
        assert!((NORMAL.value(0) + 6.3).abs() < 0.1, "{}", NORMAL.value(0));
    }

    #[test]
    fn streams_differ_in_every_part_of_their_key() {
        let first =
            |seed, event, channel, purpose| stream(seed, event, channel, purpose).next_u64();
        let one = first(1, 2, 3, Purpose::Light);
        assert_eq!(one, first(1, 2, 3, Purpose::Light));
        assert_ne!(one, first(2, 2, 3, Purpose::Light));
        assert_ne!(one, first(1, 3, 3, Purpose::Light));
        assert_ne!(one, first(1, 2, 4, Purpose::Light));
        assert_ne!(one, first(1, 2, 3, Purpose::Dark));
    }
}
