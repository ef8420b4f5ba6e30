//! Number types of binary formats: their sizes and how to decode them.

use crate::model::Samples;

/// A plain number type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// The bits of an integer that hold its value, where a file declares fewer than the integer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BitRange {
    /// Bits below the value.
    pub offset: u8,
    /// Bits of the value, at least one.
    pub precision: u8,
}

/// A number type with its byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScalarType {
    pub scalar: Scalar,
    pub big_endian: bool,
    /// The bits that count, for integers of which not all do.
    pub bits: Option<BitRange>,
}

impl Scalar {
    /// Returns the name as in Rust and NumPy.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Returns the bytes per number.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Returns the integer type of `size` bytes.
    pub fn integer(size: u64, signed: bool) -> Option<Self> {
        Some(match (size, signed) {
            (1, false) => Self::U8,
            (1, true) => Self::I8,
            (2, false) => Self::U16,
            (2, true) => Self::I16,
            (4, false) => Self::U32,
            (4, true) => Self::I32,
            (8, false) => Self::U64,
            (8, true) => Self::I64,
            _ => return None,
        })
    }

    /// Returns the floating-point type of `size` bytes.
    pub fn float(size: u64) -> Option<Self> {
        match size {
            2 => Some(Self::F16),
            4 => Some(Self::F32),
            8 => Some(Self::F64),
            _ => None,
        }
    }

    /// Returns true for the signed integers.
    fn is_signed(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// Returns true for the integer types.
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F16 | Self::F32 | Self::F64)
    }
}

impl ScalarType {
    /// Creates the type of numbers that use all of their bits.
    pub const fn new(scalar: Scalar, big_endian: bool) -> Self {
        Self {
            scalar,
            big_endian,
            bits: None,
        }
    }

    /// Returns the bytes per number.
    pub fn size(self) -> usize {
        self.scalar.size()
    }

    /// Returns an empty sample vector of the type that these numbers are converted to.
    pub fn empty_samples(self) -> Samples {
        match self.scalar {
            Scalar::U8 | Scalar::U16 => Samples::U16(Vec::new()),
            _ => Samples::F32(Vec::new()),
        }
    }

    /// Decodes samples. Unsigned integers of up to 16 bits stay integers, independent of their values.
    pub fn samples(self, bytes: &[u8]) -> Samples {
        if self.bits.is_some() {
            let values = self.integers(bytes).into_iter();
            return match self.empty_samples() {
                Samples::U16(_) => Samples::U16(values.map(|value| value as u16).collect()),
                Samples::F32(_) => Samples::F32(values.map(|value| value as f32).collect()),
            };
        }
        match self.scalar {
            Scalar::U8 => Samples::U16(bytes.iter().map(|&byte| u16::from(byte)).collect()),
            Scalar::U16 => Samples::U16(self.numbers(bytes, u16::from_le_bytes)),
            Scalar::I8 => {
                Samples::F32(self.numbers(bytes, |raw| f32::from(i8::from_le_bytes(raw))))
            }
            Scalar::I16 => {
                Samples::F32(self.numbers(bytes, |raw| f32::from(i16::from_le_bytes(raw))))
            }
            Scalar::U32 => Samples::F32(self.numbers(bytes, |raw| u32::from_le_bytes(raw) as f32)),
            Scalar::I32 => Samples::F32(self.numbers(bytes, |raw| i32::from_le_bytes(raw) as f32)),
            Scalar::U64 => Samples::F32(self.numbers(bytes, |raw| u64::from_le_bytes(raw) as f32)),
            Scalar::I64 => Samples::F32(self.numbers(bytes, |raw| i64::from_le_bytes(raw) as f32)),
            Scalar::F16 => Samples::F32(self.numbers(bytes, f16_value)),
            Scalar::F32 => Samples::F32(self.numbers(bytes, f32::from_le_bytes)),
            Scalar::F64 => Samples::F32(self.numbers(bytes, |raw| f64::from_le_bytes(raw) as f32)),
        }
    }

    /// Decodes integers. Floating-point numbers are truncated.
    pub fn integers(self, bytes: &[u8]) -> Vec<i128> {
        let mut values = self.whole_integers(bytes);
        if let Some(bits) = self.bits {
            let (is_signed, mask) = (self.scalar.is_signed(), (1_i128 << bits.precision) - 1);
            for value in &mut values {
                *value = (*value >> bits.offset) & mask;
                if is_signed && *value >> (bits.precision - 1) != 0 {
                    *value -= mask + 1;
                }
            }
        }
        values
    }

    /// Decodes integers with all of their bits.
    fn whole_integers(self, bytes: &[u8]) -> Vec<i128> {
        match self.scalar {
            Scalar::U8 => bytes.iter().map(|&byte| i128::from(byte)).collect(),
            Scalar::I8 => self.numbers(bytes, |raw| i128::from(i8::from_le_bytes(raw))),
            Scalar::U16 => self.numbers(bytes, |raw| i128::from(u16::from_le_bytes(raw))),
            Scalar::I16 => self.numbers(bytes, |raw| i128::from(i16::from_le_bytes(raw))),
            Scalar::U32 => self.numbers(bytes, |raw| i128::from(u32::from_le_bytes(raw))),
            Scalar::I32 => self.numbers(bytes, |raw| i128::from(i32::from_le_bytes(raw))),
            Scalar::U64 => self.numbers(bytes, |raw| i128::from(u64::from_le_bytes(raw))),
            Scalar::I64 => self.numbers(bytes, |raw| i128::from(i64::from_le_bytes(raw))),
            Scalar::F16 => self.numbers(bytes, |raw| f16_value(raw) as i128),
            Scalar::F32 => self.numbers(bytes, |raw| f32::from_le_bytes(raw) as i128),
            Scalar::F64 => self.numbers(bytes, |raw| f64::from_le_bytes(raw) as i128),
        }
    }

    /// Decodes numbers as `f64`.
    pub fn floats(self, bytes: &[u8]) -> Vec<f64> {
        match self.scalar {
            Scalar::F16 => self.numbers(bytes, |raw| f64::from(f16_value(raw))),
            Scalar::F32 => self.numbers(bytes, |raw| f64::from(f32::from_le_bytes(raw))),
            Scalar::F64 => self.numbers(bytes, f64::from_le_bytes),
            _ => self
                .integers(bytes)
                .into_iter()
                .map(|value| value as f64)
                .collect(),
        }
    }

    /// Applies `decode` to each number's bytes in little-endian order. An incomplete number at the end is dropped.
    fn numbers<const N: usize, T>(self, bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (numbers, _) = bytes.as_chunks::<N>();
        if self.big_endian {
            numbers
                .iter()
                .map(|raw| {
                    let mut raw = *raw;
                    raw.reverse();
                    decode(raw)
                })
                .collect()
        } else {
            numbers.iter().map(|raw| decode(*raw)).collect()
        }
    }
}

fn f16_value(raw: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(raw).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_decides_the_value() {
        let bytes = [0x12, 0x34];
        for (big_endian, value) in [(false, 0x3412), (true, 0x1234)] {
            let kind = ScalarType::new(Scalar::U16, big_endian);
            assert_eq!(kind.samples(&bytes), Samples::U16(vec![value]));
            assert_eq!(kind.integers(&bytes), [i128::from(value)]);
        }
    }

    #[test]
    fn the_type_not_the_content_decides_how_samples_are_kept() {
        let kind = ScalarType::new(Scalar::I32, false);
        assert_eq!(kind.samples(&[7, 0, 0, 0]), Samples::F32(vec![7.0]));
        assert_eq!(kind.integers(&[0xff; 4]), [-1]);
    }

    #[test]
    fn half_floats_and_integers_of_fewer_bits_have_their_values() {
        let half = ScalarType::new(Scalar::F16, false);
        assert_eq!(
            half.samples(&[0, 0x3e, 0, 0xc0]),
            Samples::F32(vec![1.5, -2.0])
        );
        assert_eq!(half.floats(&[0, 0x3e]), [1.5]);
        let bits = |scalar, offset, precision| ScalarType {
            bits: Some(BitRange { offset, precision }),
            ..ScalarType::new(scalar, false)
        };
        // The two bits above a 14-bit value do not count.
        let unsigned = bits(Scalar::U16, 0, 14);
        assert_eq!(unsigned.samples(&[0xff, 0xff]), Samples::U16(vec![0x3fff]));
        let signed = bits(Scalar::I16, 2, 12);
        assert_eq!(signed.integers(&[0xfc, 0x3f, 0x04, 0x40]), [-1, 1]);
        assert_eq!(signed.samples(&[0xfc, 0x3f]), Samples::F32(vec![-1.0]));
    }
}
