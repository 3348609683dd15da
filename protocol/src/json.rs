//! Helpers for reading and writing JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::InvalidValue;

/// Serializes a value as JSON text. A [`RawValue`] is kept byte for byte.
///
/// # Errors
///
/// [`InvalidValue`], naming `field`, if the value cannot be serialized as JSON.
pub fn raw(field: &'static str, value: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, InvalidValue> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| InvalidValue::new(field, "cannot be serialized as JSON").with_source(error))
}

/// Deserializes `null` as the type's default, so that `null` and an absent field have the same meaning.
///
/// Use it as `#[serde(default, deserialize_with = "null_is_absent")]`.
///
/// # Errors
///
/// The deserializer's error if the value is neither `null` nor a valid `T`.
pub fn null_is_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Deserializes a value that is not of type `T` as the type's default, as if the field was absent. For a field that nobody needs to
/// use the rest of the document.
///
/// Use it as `#[serde(default, deserialize_with = "lenient")]`.
///
/// # Errors
///
/// The deserializer's error if the document is not JSON.
pub(crate) fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str::<Option<T>>(value.get()).ok().flatten().unwrap_or_default())
}

/// The same for each element of an array.
///
/// # Errors
///
/// As [`lenient`].
pub(crate) fn lenient_elements<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let elements: Vec<Box<RawValue>> = lenient(deserializer)?;
    let parse = |element: Box<RawValue>| serde_json::from_str::<Option<T>>(element.get()).ok().flatten();
    Ok(elements.into_iter().map(|element| parse(element).unwrap_or_default()).collect())
}
