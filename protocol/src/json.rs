//! How JSON is read and written on both sides.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::InvalidValue;

/// Writes any value as the JSON text that goes over the wire; a [`RawValue`] stays byte for byte what it is.
///
/// # Errors
///
/// [`InvalidValue`], naming `field`, if the value cannot be written as JSON.
pub fn raw(field: &'static str, value: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, InvalidValue> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| InvalidValue::new(field, "cannot be JSON").with_source(error))
}

/// Reads `null` as the default, which is what an absent field reads as: for `#[serde(default, deserialize_with = "…")]`.
///
/// # Errors
///
/// As the deserializer.
pub fn null_is_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
