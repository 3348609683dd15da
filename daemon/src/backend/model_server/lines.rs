use bytes::{Bytes, BytesMut};

use super::response::ServerResponse;
use crate::BoxError;

/// The lines of a streamed response. Empty lines and the comments of an event stream are skipped.
pub(in crate::backend) struct Lines {
    response: ServerResponse,
    buffer: BytesMut,
    /// How many bytes of the buffer are known to contain no line end.
    searched: usize,
    generating: bool,
}

impl Lines {
    pub(super) fn new(response: ServerResponse) -> Self {
        Self { response, buffer: BytesMut::new(), searched: 0, generating: false }
    }

    /// The model has begun to generate: from here on the limit for further parts applies.
    pub(in crate::backend) fn generating(&mut self) {
        self.generating = true;
    }

    pub(in crate::backend) async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        if self.generating {
            self.response.restart_stall_timer();
        }
        loop {
            while let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                if let Some(line) = content(&line) {
                    return Ok(Some(line));
                }
            }
            self.searched = self.buffer.len();
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    self.searched = 0;
                    return Ok(content(&self.buffer.split().freeze()));
                }
            }
        }
    }
}

fn content(line: &Bytes) -> Option<Bytes> {
    let line = line.slice_ref(line.trim_ascii());
    (!line.is_empty() && line[0] != b':').then_some(line)
}
