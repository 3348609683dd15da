use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::error::Kind;
use crate::{BoxInfo, Error};

/// Lists the daemons that share the queue of the daemon (`GET /api/boxes`). Without others, it is the daemon itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListBoxes;

impl Endpoint for ListBoxes {
    type Output = Vec<BoxInfo>;

    const METHOD: Method = Method::GET;

    fn path(&self) -> Cow<'static, str> {
        "/api/boxes".into()
    }

    fn response(&self, response: Response<Bytes>) -> Result<Vec<BoxInfo>, Error> {
        #[derive(Deserialize)]
        struct Listing {
            boxes: Vec<BoxInfo>,
        }
        match response.status() {
            status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) => {
                Err(Error::new(Kind::Unsupported { feature: "listing boxes", status }))
            }
            _ => json::<Listing>(&response, StatusCode::OK).map(|listing| listing.boxes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_without_the_list_is_unsupported() {
        let response = |status: u16, body| Response::builder().status(status).body(Bytes::from_static(body)).unwrap();
        for status in [404, 405, 501] {
            assert!(ListBoxes.response(response(status, b"")).unwrap_err().is_unsupported());
        }
        let boxes = ListBoxes.response(response(200, br#"{"boxes":[{"id":"7","name":"gpu"}]}"#)).unwrap();
        assert_eq!((boxes.len(), boxes[0].name.as_str()), (1, "gpu"));
    }
}
