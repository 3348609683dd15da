use std::fmt;
use std::str::FromStr;

use foreman_protocol::{BaseUrl, InvalidValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::JobId;

/// RFC 3986, *unreserved*.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A job and the daemon that has it: what a program stores to attach to the job after a restart.
///
/// An id means nothing at another daemon. The string is the URL of the job at its daemon, such as `http://gpu-1:11435/jobs/7`. It does not
/// contain the token. [`Client::wait_for`](crate::Client::wait_for) and [`Pool::wait`](crate::Pool::wait) attach to the job.
///
/// ```
/// # fn main() -> Result<(), foreman_client::InvalidValue> {
/// use foreman_client::JobHandle;
///
/// let handle: JobHandle = "http://gpu-1:11435/jobs/7".parse()?;
/// assert_eq!((handle.daemon(), handle.job_id().as_str()), ("http://gpu-1:11435", "7"));
/// assert_eq!(handle.to_string(), "http://gpu-1:11435/jobs/7");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHandle {
    daemon: BaseUrl,
    job_id: JobId,
}

impl JobHandle {
    /// The job with that id at the daemon with that base URL.
    #[must_use]
    pub fn new(daemon: BaseUrl, job_id: JobId) -> Self {
        Self { daemon, job_id }
    }

    /// The base URL of the daemon.
    #[must_use]
    pub fn daemon(&self) -> &str {
        self.daemon.as_str()
    }

    pub(crate) fn base_url(&self) -> &BaseUrl {
        &self.daemon
    }

    /// The id of the job.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }
}

impl fmt::Display for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/jobs/{}", self.daemon, utf8_percent_encode(self.job_id.as_str(), ENCODED))
    }
}

impl FromStr for JobHandle {
    type Err = InvalidValue;

    fn from_str(handle: &str) -> Result<Self, InvalidValue> {
        let invalid = |reason| InvalidValue::new("job_handle", reason);
        let (daemon, job_id) = handle
            .rsplit_once("/jobs/")
            .ok_or_else(|| invalid("must be the URL of a daemon, then /jobs/ and an id"))?;
        let job_id = percent_decode_str(job_id).decode_utf8().map_err(|_| invalid("has an id that is not UTF-8"))?;
        Ok(Self { daemon: BaseUrl::parse("job_handle", daemon)?, job_id: JobId::new(job_id)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_survives_as_a_string() {
        for (daemon, id) in [("http://h:1", "7"), ("https://h/a/jobs/b", "ä b?#%"), ("http://[::1]:9", "a-b_c.d~e")] {
            let handle = JobHandle::new(daemon.parse().unwrap(), JobId::new(id).unwrap());
            let parsed: JobHandle = handle.to_string().parse().unwrap();
            assert_eq!(parsed, handle);
            assert_eq!((parsed.daemon(), parsed.job_id().as_str()), (daemon, id));
        }
    }

    #[test]
    fn invalid_handle_is_refused() {
        for text in [
            "",
            "7",
            "/jobs/7",
            "ftp://h/jobs/7",
            "http://h/jobs/",
            "http://h/jobs/..",
            "http://h/7",
            "http://h/jobs/%FF",
        ] {
            assert!(text.parse::<JobHandle>().is_err(), "{text}");
        }
    }
}
