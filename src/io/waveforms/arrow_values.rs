//! Numbers and lists of numbers in Arrow arrays, of any type.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, GenericListArray, OffsetSizeTrait};
use arrow_schema::{DataType, Field};

use crate::model::Samples;

/// Returns the items of a type of lists.
pub(super) fn item_of(data_type: &DataType) -> Option<&Field> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item)
        }
        _ => None,
    }
}

/// Returns the short name of a numeric type (`u16`, `f64`); `None` for other types.
pub(crate) fn name_of(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::UInt8 => "u8",
        DataType::Int8 => "i8",
        DataType::UInt16 => "u16",
        DataType::Int16 => "i16",
        DataType::UInt32 => "u32",
        DataType::Int32 => "i32",
        DataType::UInt64 => "u64",
        DataType::Int64 => "i64",
        DataType::Float16 => "f16",
        DataType::Float32 => "f32",
        DataType::Float64 => "f64",
        _ => return None,
    })
}

/// The ranges of the rows' samples among all values.
pub(super) type Ranges<'a> = Box<dyn Iterator<Item = std::ops::Range<usize>> + 'a>;

/// Returns the values of a list column and, for each row, the range of its samples among them.
pub(super) fn ranges(lists: &ArrayRef) -> Option<(ArrayRef, Ranges<'_>)> {
    fn of<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> (ArrayRef, Ranges<'_>) {
        let offsets = lists.value_offsets();
        let ranges = offsets
            .windows(2)
            .map(|pair| pair[0].as_usize()..pair[1].as_usize());
        (Arc::clone(lists.values()), Box::new(ranges))
    }
    match lists.data_type() {
        DataType::List(_) => Some(of(lists.as_list::<i32>())),
        DataType::LargeList(_) => Some(of(lists.as_list::<i64>())),
        DataType::FixedSizeList(..) => {
            let fixed = lists.as_fixed_size_list();
            let length = usize::try_from(fixed.value_length()).ok()?;
            let ranges = (0..fixed.len()).map(move |row| row * length..(row + 1) * length);
            Some((Arc::clone(fixed.values()), Box::new(ranges)))
        }
        _ => None,
    }
}

fn floats_of<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    convert: impl Fn(T::Native) -> f32,
) -> Samples {
    Samples::F32(
        values
            .as_primitive::<T>()
            .values()
            .iter()
            .map(|&value| convert(value))
            .collect(),
    )
}

/// Returns all values as samples. Nulls become arbitrary numbers.
pub(super) fn samples(values: &ArrayRef) -> Option<Samples> {
    Some(match values.data_type() {
        DataType::UInt8 => Samples::U16(
            values
                .as_primitive::<UInt8Type>()
                .values()
                .iter()
                .map(|&value| u16::from(value))
                .collect(),
        ),
        DataType::UInt16 => Samples::U16(values.as_primitive::<UInt16Type>().values().to_vec()),
        DataType::Int8 => floats_of::<Int8Type>(values, f32::from),
        DataType::Int16 => floats_of::<Int16Type>(values, f32::from),
        DataType::UInt32 => floats_of::<UInt32Type>(values, |value| value as f32),
        DataType::Int32 => floats_of::<Int32Type>(values, |value| value as f32),
        DataType::UInt64 => floats_of::<UInt64Type>(values, |value| value as f32),
        DataType::Int64 => floats_of::<Int64Type>(values, |value| value as f32),
        DataType::Float16 => floats_of::<Float16Type>(values, half::f16::to_f32),
        DataType::Float32 => floats_of::<Float32Type>(values, |value| value),
        DataType::Float64 => floats_of::<Float64Type>(values, |value| value as f32),
        _ => return None,
    })
}

fn options_of<T: ArrowPrimitiveType, U>(
    values: &ArrayRef,
    convert: impl Fn(T::Native) -> U,
) -> Vec<Option<U>> {
    values
        .as_primitive::<T>()
        .iter()
        .map(|value| value.map(&convert))
        .collect()
}

/// Returns a column of integers, `None` for nulls.
pub(crate) fn integers(values: &ArrayRef) -> Option<Vec<Option<i128>>> {
    Some(match values.data_type() {
        DataType::UInt8 => options_of::<UInt8Type, _>(values, i128::from),
        DataType::Int8 => options_of::<Int8Type, _>(values, i128::from),
        DataType::UInt16 => options_of::<UInt16Type, _>(values, i128::from),
        DataType::Int16 => options_of::<Int16Type, _>(values, i128::from),
        DataType::UInt32 => options_of::<UInt32Type, _>(values, i128::from),
        DataType::Int32 => options_of::<Int32Type, _>(values, i128::from),
        DataType::UInt64 => options_of::<UInt64Type, _>(values, i128::from),
        DataType::Int64 => options_of::<Int64Type, _>(values, i128::from),
        _ => return None,
    })
}

/// Returns a column of numbers, `None` for nulls.
pub(crate) fn floats(values: &ArrayRef) -> Option<Vec<Option<f64>>> {
    match values.data_type() {
        DataType::Float16 => Some(options_of::<Float16Type, _>(values, f64::from)),
        DataType::Float32 => Some(options_of::<Float32Type, _>(values, f64::from)),
        DataType::Float64 => Some(options_of::<Float64Type, _>(values, |value| value)),
        _ => {
            let integers = integers(values)?;
            Some(
                integers
                    .into_iter()
                    .map(|value| value.map(|value| value as f64))
                    .collect(),
            )
        }
    }
}
