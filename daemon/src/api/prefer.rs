use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The `wait` preference of `Prefer` (RFC 7240), in whole seconds. The first one counts; `None` if it is not a number.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut waits = values.flat_map(|value| value.split(',')).filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    let seconds = waits.next()?;
    seconds.bytes().all(|byte| byte.is_ascii_digit()).then(|| seconds.parse().ok().map(Duration::from_secs))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_among_other_preferences() {
        for (given, seconds) in [
            (&["wait=10"][..], Some(10)),
            (&["wait=0"], Some(0)),
            (&["respond-async, Wait = \"7\"; x=1"], Some(7)),
            (&["respond-async", "wait=3"], Some(3)),
            (&["wait=3, wait=4"], Some(3)),
            (&["wait"], None),
            (&["wait="], None),
            (&["wait=-1"], None),
            (&["wait=+1"], None),
            (&["wait=1.5"], None),
            (&["wait=99999999999999999999"], None),
            (&["waits=1"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(PREFER, value.parse().unwrap());
            }
            assert_eq!(wait(&headers), seconds.map(Duration::from_secs), "{given:?}");
        }
    }
}
