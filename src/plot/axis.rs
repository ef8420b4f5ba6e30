//! Axes: the position of a value on a linear or logarithmic scale, and the ticks.

use crate::math;

/// Fewest labelled ticks of an axis that has room for them.
const MIN_TICKS: usize = 3;

/// The scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Equal differences take equal space.
    Linear,
    /// Equal ratios take equal space.
    Logarithmic,
}

/// One axis of a panel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// The quantity with its unit.
    pub title: String,
    low: f64,
    high: f64,
    scale: Scale,
}

/// A labelled value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// The value.
    pub value: f64,
    /// The label; empty for a minor tick.
    pub label: String,
}

impl Axis {
    /// A linear axis from `low` to `high`; an empty range is widened.
    pub fn linear(title: impl Into<String>, low: f64, high: f64) -> Self {
        let (low, high) = if high > low {
            (low, high)
        } else {
            (low - 0.5, low + 0.5)
        };
        Self {
            title: title.into(),
            low,
            high,
            scale: Scale::Linear,
        }
    }

    /// A linear axis that covers all `values` and `low..high`, with some space beyond the data.
    pub fn around(
        title: impl Into<String>,
        values: impl Iterator<Item = f64>,
        low: f64,
        high: f64,
    ) -> Self {
        let (mut lowest, mut highest) = (low, high);
        for value in values.filter(|value| value.is_finite()) {
            lowest = lowest.min(value);
            highest = highest.max(value);
        }
        let space = 0.06 * (highest - lowest);
        Self::linear(
            title,
            if lowest < low { lowest - space } else { low },
            if highest > high {
                highest + space
            } else {
                high
            },
        )
    }

    /// A logarithmic axis from `low` to `high`, both positive.
    pub fn logarithmic(title: impl Into<String>, low: f64, high: f64) -> Self {
        let low = low.max(1e-12);
        Self {
            title: title.into(),
            low,
            high: if high > low { high } else { low * 10.0 },
            scale: Scale::Logarithmic,
        }
    }

    /// Returns the axis without title and labels, for a panel above another with the same axis.
    pub fn untitled(self) -> Self {
        Self {
            title: String::new(),
            ..self
        }
    }

    /// Lower end.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Upper end.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Returns the position of `value`: 0 at the lower end, 1 at the upper.
    pub fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => {
                math::ln(value.max(1e-300) / self.low) / math::ln(self.high / self.low)
            }
        }
    }

    /// Returns ticks at round values, about `wanted` of them labelled.
    pub fn ticks(&self, wanted: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => self.linear_ticks(wanted),
            Scale::Logarithmic => {
                let ticks = self.logarithmic_ticks();
                let labelled = ticks.iter().filter(|tick| !tick.label.is_empty()).count();
                // Over less than a decade round differences are more than round ratios.
                if labelled < MIN_TICKS {
                    self.linear_ticks(wanted)
                } else {
                    ticks
                }
            }
        }
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<Tick> {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let decade = math::powf(10.0_f64, math::log10(rough).floor());
        let round = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
        // Of the round steps the largest that gives enough ticks, and none finer than `wanted` allows unless it has to be.
        let wide = round.iter().copied().find(|step| *step >= rough * 0.999);
        let fine = round.iter().copied().rev().find(|step| {
            let ticks = (self.high / step + 1e-9).floor() - (self.low / step - 1e-9).ceil() + 1.0;
            ticks >= wanted.min(MIN_TICKS) as f64
        });
        let wide = wide.unwrap_or(10.0 * decade);
        let step = wide.min(fine.unwrap_or(wide));
        let decimals = (-math::log10(step).floor()).max(0.0) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last.min(first + 200))
            .map(|k| {
                let value = k as f64 * step;
                Tick {
                    value,
                    label: with_minus(&format!("{value:.decimals$}")),
                }
            })
            .collect()
    }

    fn logarithmic_ticks(&self) -> Vec<Tick> {
        let (first, last) = (
            math::log10(self.low).floor() as i32,
            math::log10(self.high).ceil() as i32,
        );
        let span = math::log10(self.high) - math::log10(self.low);
        let mut ticks = Vec::new();
        for decade in first..=last {
            for factor in 1..10 {
                let value = f64::from(factor) * 10.0_f64.powi(decade);
                if value < self.low * (1.0 - 1e-9) || value > self.high * (1.0 + 1e-9) {
                    continue;
                }
                let labelled = factor == 1 || (span < 3.5 && (factor == 2 || factor == 5));
                let decimals = usize::try_from(-decade).unwrap_or(0);
                ticks.push(Tick {
                    value,
                    label: if labelled {
                        format!("{value:.decimals$}")
                    } else {
                        String::new()
                    },
                });
            }
        }
        ticks
    }
}

/// Replaces the hyphen by a minus sign, and removes the sign of a negative zero.
pub(crate) fn with_minus(number: &str) -> String {
    if number.trim_start_matches(['-', '0', '.']).is_empty() {
        return number.trim_start_matches('-').to_owned();
    }
    number.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, wanted: usize) -> Vec<String> {
        let ticks = axis.ticks(wanted).into_iter();
        ticks.map(|t| t.label).filter(|l| !l.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round() {
        let axis = Axis::linear("x", -1.0, 1.1);
        assert_eq!(
            labels(&axis, 5),
            ["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5", "1.0"]
        );
        let axis = Axis::linear("x", 0.0, 1000.0);
        assert_eq!(labels(&axis, 5), ["0", "200", "400", "600", "800", "1000"]);
        let axis = Axis::logarithmic("x", 0.5, 200.0);
        assert_eq!(
            labels(&axis, 5),
            ["0.5", "1", "2", "5", "10", "20", "50", "100", "200"]
        );
    }

    #[test]
    fn every_axis_has_at_least_three_labels() {
        for (low, high) in [
            (3490.0, 4830.0),
            (-0.05, 0.38),
            (0.0, 1.9),
            (4700.0, 4815.0),
        ] {
            let found = labels(&Axis::linear("x", low, high), 3);
            assert!((3..=6).contains(&found.len()), "{low} {high}: {found:?}");
        }
        let found = labels(&Axis::logarithmic("x", 0.8, 1.25), 7);
        assert!((3..=10).contains(&found.len()), "{found:?}");
    }

    #[test]
    fn places_run_from_0_to_1() {
        for axis in [
            Axis::linear("x", 2.0, 8.0),
            Axis::logarithmic("x", 2.0, 8.0),
        ] {
            assert_eq!((axis.place(2.0), axis.place(8.0)), (0.0, 1.0));
        }
        assert!((Axis::logarithmic("x", 2.0, 8.0).place(4.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn an_empty_range_is_widened() {
        assert!(Axis::linear("x", 3.0, 3.0).place(3.0).is_finite());
        assert!(!Axis::linear("x", 3.0, 3.0).ticks(5).is_empty());
    }
}
