use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::json::{lenient, lenient_elements};

/// A daemon, of those that share a queue (an element of `boxes` in the response to `GET /api/boxes`).
///
/// An absent field has its default: an empty string, an empty list, 0, `false` or `None`. A `null`, and a value of another type, is read as
/// an absent field, except for `id` and `name`, which are required. Unknown fields are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BoxInfo {
    /// `id`: identifies the daemon until it ends, or until it loses its lease. Required.
    pub id: String,
    /// `name`: the name that the daemon was given, or the address that it listens on. It need not be unique. Required.
    pub name: String,
    /// `started_at`: since when it has this id.
    #[serde(default, deserialize_with = "lenient")]
    pub started_at: Option<Timestamp>,
    /// `lease_seconds`: in how many seconds its lease ends unless it is renewed. `None` if no other daemon can share its queue.
    #[serde(default, deserialize_with = "lenient")]
    pub lease_seconds: Option<f64>,
    /// `draining`: whether it takes no jobs.
    #[serde(default, deserialize_with = "lenient")]
    pub draining: bool,
    /// `running_jobs`: how many jobs it runs, of all tokens.
    #[serde(default, deserialize_with = "lenient")]
    pub running_jobs: u64,
    /// `backends`: its backends. Empty while the models of none of them are known.
    #[serde(default, deserialize_with = "lenient_elements")]
    pub backends: Vec<BoxBackend>,
    /// `answering`: whether it is the one that has sent the response.
    #[serde(default, deserialize_with = "lenient")]
    pub answering: bool,
    /// `different_options`: the names of the options in which it differs from the daemon that has sent the response, of those that all
    /// daemons of a queue should have in common. Absent if empty.
    #[serde(default, deserialize_with = "lenient_elements", skip_serializing_if = "Vec::is_empty")]
    pub different_options: Vec<String>,
}

/// A backend of a [`BoxInfo`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BoxBackend {
    /// `name`: its name, unique for one daemon.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// `models`: the names of the models that it lists. `None` before it has first listed them.
    #[serde(default, deserialize_with = "lenient")]
    pub models: Option<Vec<String>>,
    /// `unavailable`: whether its jobs wait because it cannot be reached, or has too much to do. Absent if `false`.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "std::ops::Not::not")]
    pub unavailable: bool,
    /// `loaded`: the names of those that its model server has in memory. `None` if the server does not report it.
    #[serde(default, deserialize_with = "lenient")]
    pub loaded: Option<Vec<String>>,
}

impl BoxInfo {
    /// Creates a daemon with the two required fields.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            started_at: None,
            lease_seconds: None,
            draining: false,
            running_jobs: 0,
            backends: Vec::new(),
            answering: false,
            different_options: Vec::new(),
        }
    }
}

impl BoxBackend {
    /// Creates a backend, of which it is not known which models are loaded.
    #[must_use]
    pub fn new(name: impl Into<String>, models: Option<Vec<String>>) -> Self {
        Self { name: name.into(), models, unavailable: false, loaded: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_optional_fields_are_read_as_absent() {
        let json = r#"{"id":"7","name":"gpu","lease_seconds":"long","draining":1,"backends":[{"name":"a","models":7},null],"new":{}}"#;
        let one: BoxInfo = serde_json::from_str(json).unwrap();
        assert_eq!((one.lease_seconds, one.draining, one.running_jobs, one.answering), (None, false, 0, false));
        assert_eq!(one.backends, [BoxBackend::new("a", None), BoxBackend::default()]);
        assert!(serde_json::from_str::<BoxInfo>(r#"{"id":"7"}"#).is_err());
    }
}
