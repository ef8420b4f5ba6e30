//! The element types of HDF5 that are numbers, and words for those that are not.

use hdf5_pure::{Datatype, DatatypeByteOrder, FloatingPointLayout};

use crate::io::waveforms::scalar::{BitRange, Scalar, ScalarType};

/// Half floats of IEEE 754.
const BINARY16: FloatingPointLayout = FloatingPointLayout {
    bit_offset: 0,
    bit_precision: 16,
    exponent_location: 10,
    exponent_size: 5,
    mantissa_location: 0,
    mantissa_size: 10,
    exponent_bias: 15,
};

/// The element type of a dataset or field: numbers, or arrays of numbers of a fixed shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub kind: ScalarType,
    /// The shape of an array type, empty for plain numbers.
    pub shape: Vec<u64>,
}

impl Numbers {
    /// Returns true for an array type.
    pub fn is_array(&self) -> bool {
        !self.shape.is_empty()
    }

    /// Returns the numbers per element; `None` if there are more than an address can count.
    pub fn length(&self) -> Option<u64> {
        self.shape
            .iter()
            .try_fold(1_u64, |all, &length| all.checked_mul(length))
    }
}

/// Returns the numbers of a datatype, if it can be decoded.
pub(crate) fn numbers(datatype: &Datatype) -> Option<Numbers> {
    match datatype {
        Datatype::Array {
            base_type,
            dimensions,
        } => {
            let base = numbers(base_type)?;
            let shape = dimensions.iter().map(|&length| u64::from(length));
            let shape: Vec<u64> = shape.chain(base.shape).collect();
            // An array of no dimensions would be taken as a plain number.
            (!shape.is_empty()).then_some(Numbers {
                kind: base.kind,
                shape,
            })
        }
        // The names of an enumeration's values are no matter here.
        Datatype::Enumeration { base_type, .. } => numbers(base_type),
        other => scalar(other).map(|kind| Numbers {
            kind,
            shape: Vec::new(),
        }),
    }
}

fn scalar(datatype: &Datatype) -> Option<ScalarType> {
    let (scalar, order, offset, precision) = match *datatype {
        Datatype::FixedPoint {
            size,
            byte_order,
            layout,
        } => (
            Scalar::integer(u64::from(size), layout.signed)?,
            byte_order,
            layout.bit_offset,
            layout.bit_precision,
        ),
        Datatype::BitField {
            size,
            byte_order,
            bit_offset,
            bit_precision,
        } => (
            Scalar::integer(u64::from(size), false)?,
            byte_order,
            bit_offset,
            bit_precision,
        ),
        Datatype::FloatingPoint {
            size,
            byte_order,
            layout,
        } => {
            let known = match size {
                2 => BINARY16,
                4 => FloatingPointLayout::IEEE754_BINARY32,
                8 => FloatingPointLayout::IEEE754_BINARY64,
                _ => return None,
            };
            (layout == known).then_some(())?;
            (
                Scalar::float(u64::from(size))?,
                byte_order,
                0,
                layout.bit_precision,
            )
        }
        _ => return None,
    };
    let big_endian = match order {
        DatatypeByteOrder::LittleEndian => false,
        DatatypeByteOrder::BigEndian => true,
        DatatypeByteOrder::Vax => return None,
    };
    let n_bits = 8 * scalar.size() as u16;
    let is_possible = precision > 0 && offset.checked_add(precision)? <= n_bits;
    is_possible.then_some(ScalarType {
        bits: (precision < n_bits).then_some(BitRange {
            offset: offset as u8,
            precision: precision as u8,
        }),
        ..ScalarType::new(scalar, big_endian)
    })
}

/// Returns the names of the fields of a table of records; empty for other types.
pub(crate) fn fields(datatype: &Datatype) -> Vec<&str> {
    match datatype {
        Datatype::Compound { members, .. } => {
            members.iter().map(|member| member.name.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the words for a type, as in "u16", "array of 2 x 200 u16" and "variable-length rows of u16".
pub(crate) fn describe(datatype: &Datatype) -> String {
    if let Some(numbers) = numbers(datatype) {
        let name = numbers.kind.scalar.name();
        return if numbers.is_array() {
            format!("{name}[{}]", shape_text(&numbers.shape))
        } else {
            name.to_owned()
        };
    }
    match datatype {
        Datatype::Compound { members, .. } => {
            let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
            format!("table {{{}}}", names.join(", "))
        }
        Datatype::Array { base_type, .. } => format!("arrays of {}", describe(base_type)),
        Datatype::Enumeration { base_type, .. } => {
            format!("enumeration of {}", describe(base_type))
        }
        Datatype::VariableLength {
            is_string: false,
            base_type,
            ..
        } => format!("variable-length rows of {}", describe(base_type)),
        Datatype::String { .. } | Datatype::VariableLength { .. } => "text".to_owned(),
        Datatype::FixedPoint { size, .. } => format!("integers of {size} bytes"),
        Datatype::FloatingPoint {
            byte_order: DatatypeByteOrder::Vax,
            ..
        } => "floating-point numbers in the byte order of the VAX".to_owned(),
        Datatype::FloatingPoint { size, layout, .. } => format!(
            "floating-point numbers of {size} bytes with {} bits of exponent",
            layout.exponent_size
        ),
        Datatype::Time { .. } => "times of the type H5T_TIME".to_owned(),
        Datatype::BitField { size, .. } => format!("bit fields of {size} bytes"),
        Datatype::Opaque { .. } => "opaque bytes".to_owned(),
        Datatype::Reference { .. } => "references".to_owned(),
        _ => "elements of an unknown type".to_owned(),
    }
}

/// Returns a shape as text, as in "12 x 1000".
pub(crate) fn shape_text(shape: &[u64]) -> String {
    let lengths: Vec<_> = shape.iter().map(u64::to_string).collect();
    lengths.join(" x ")
}
