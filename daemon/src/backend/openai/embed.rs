use serde::{Deserialize, Serialize};

use crate::backend::error::BackendError;
use crate::{BoxError, EmbedInput, EmbedRequest, EmbedResponse};

/// The body of `POST /v1/embeddings`.
#[derive(Serialize)]
pub(super) struct OpenAiEmbedRequest<'a> {
    model: &'a str,
    input: &'a EmbedInput,
    encoding_format: &'static str,
}

impl<'a> OpenAiEmbedRequest<'a> {
    pub(super) fn new(request: &'a EmbedRequest) -> Self {
        Self { model: request.model(), input: request.input(), encoding_format: "float" }
    }
}

/// The response.
#[derive(Deserialize)]
pub(super) struct Embeddings {
    #[serde(default)]
    model: Option<String>,
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    #[serde(default)]
    index: u64,
    embedding: Vec<f32>,
}

impl Embeddings {
    /// The vectors in the order of the texts. `texts` is how many texts there were.
    pub(super) fn ordered(mut self, texts: usize) -> Result<EmbedResponse, BoxError> {
        if self.data.len() != texts {
            return Err(BackendError::invalid_response("number of embeddings differs from number of texts"));
        }
        self.data.sort_by_key(|embedding| embedding.index);
        let mut response = EmbedResponse::new(self.data.into_iter().map(|embedding| embedding.embedding).collect());
        response.model = self.model;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_ordered_by_index() {
        let json = r#"{"model":"m","data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1.0]}]}"#;
        let read = || serde_json::from_str::<Embeddings>(json).unwrap();
        let response = read().ordered(2).unwrap();
        assert_eq!((response.model.as_deref(), response.embeddings), (Some("m"), vec![vec![1.0], vec![2.0]]));
        assert!(read().ordered(3).is_err());
    }

    #[test]
    fn input_keeps_its_shape() {
        let request = EmbedRequest::new("m", "a").unwrap().keep_alive(&5).unwrap();
        let sent = serde_json::to_string(&OpenAiEmbedRequest::new(&request)).unwrap();
        assert_eq!(sent, r#"{"model":"m","input":"a","encoding_format":"float"}"#);
    }
}
