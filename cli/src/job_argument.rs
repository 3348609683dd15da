use std::str::FromStr;

use foreman_client::{InvalidValue, JobHandle, JobId};

/// A job as it is named on the command line: by its id, or by its URL, which also names the daemon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JobArgument {
    Id(JobId),
    Url(JobHandle),
}

impl FromStr for JobArgument {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.contains("://") { text.parse().map(Self::Url) } else { JobId::new(text).map(Self::Id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_a_job_is_a_handle_and_anything_else_an_id() {
        assert_eq!("7".parse::<JobArgument>().unwrap(), JobArgument::Id(JobId::new("7").unwrap()));
        let url = "http://gpu-1:11435/jobs/7".parse().unwrap();
        assert!(matches!(url, JobArgument::Url(handle) if handle.daemon() == "http://gpu-1:11435"));
        for invalid in ["", "http://gpu-1:11435", "http://user@gpu-1/jobs/7", "ftp://gpu-1/jobs/7"] {
            assert!(invalid.parse::<JobArgument>().is_err(), "{invalid}");
        }
    }
}
