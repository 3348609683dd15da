use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::InvalidValue;

/// Ollama's `keep_alive`.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeepAlive {
    Seconds(f64),
    /// A duration of Go, such as `5m`.
    Duration(String),
}

/// The seconds after which LM Studio unloads an idle model. `None` if the model is to stay loaded or to be unloaded at once, which
/// cannot be expressed.
pub(super) fn ttl(keep_alive: &RawValue) -> Result<Option<u64>, InvalidValue> {
    let invalid = || InvalidValue::new("keep_alive", "must be a number of seconds or a duration such as \"5m\"");
    let duration = match serde_json::from_str(keep_alive.get()).map_err(|error| invalid().with_source(error))? {
        KeepAlive::Seconds(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        KeepAlive::Duration(text) => {
            let duration: SignedDuration = text.parse().map_err(|error| invalid().with_source(error))?;
            Duration::try_from(duration).ok()
        }
    };
    let seconds = duration.map(|duration| duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)));
    Ok(seconds.filter(|seconds| *seconds > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_times_are_seconds_rounded_up() {
        for (keep_alive, seconds) in [
            ("300", Some(300)),
            ("0.5", Some(1)),
            ("\"5m\"", Some(300)),
            ("\"1h30m\"", Some(5400)),
            ("\"1500ms\"", Some(2)),
            ("0", None),
            ("-1", None),
            ("\"0s\"", None),
            ("\"-5m\"", None),
        ] {
            let json = RawValue::from_string(keep_alive.to_owned()).unwrap();
            assert_eq!(ttl(&json).unwrap(), seconds, "{keep_alive}");
        }
        for invalid in ["\"5\"", "\"soon\"", "[]", "true"] {
            let json = RawValue::from_string(invalid.to_owned()).unwrap();
            assert!(
                ttl(&json).unwrap_err().to_string().starts_with("invalid keep_alive: must be a number"),
                "{invalid}"
            );
        }
    }
}
