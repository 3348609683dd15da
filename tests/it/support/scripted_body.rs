use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::BoxError;
use http_body::{Body, Frame, SizeHint};

/// A response body in pieces. It can break off, never end, or declare a wrong size.
#[derive(Debug, Default)]
pub(crate) struct ScriptedBody {
    pieces: VecDeque<Piece>,
    declared: Option<u64>,
    beat: Option<Pin<Box<tokio::time::Sleep>>>,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    Reset,
    Silence,
    Beat,
}

impl ScriptedBody {
    pub(crate) fn then(mut self, data: impl Into<Bytes>) -> Self {
        self.pieces.push_back(Piece::Data(data.into()));
        self
    }

    /// The connection is reset here.
    pub(crate) fn then_reset(mut self) -> Self {
        self.pieces.push_back(Piece::Reset);
        self
    }

    /// No more data and no end.
    pub(crate) fn then_silence(mut self) -> Self {
        self.pieces.push_back(Piece::Silence);
        self
    }

    /// So many comments of an event stream, each 15 s after the part before it.
    pub(crate) fn then_heartbeats(mut self, count: usize) -> Self {
        self.pieces.extend((0..count).map(|_| Piece::Beat));
        self
    }

    /// The size in `Content-Length`.
    pub(crate) fn declared(mut self, bytes: u64) -> Self {
        self.declared = Some(bytes);
        self
    }
}

impl<T: Into<Bytes>> From<T> for ScriptedBody {
    fn from(whole: T) -> Self {
        Self::default().then(whole)
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.pieces.pop_front() {
            None => Poll::Ready(None),
            Some(Piece::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Piece::Reset) => Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()))),
            Some(Piece::Beat) => {
                let beat = self.beat.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_secs(15))));
                if beat.as_mut().poll(cx).is_pending() {
                    self.pieces.push_front(Piece::Beat);
                    return Poll::Pending;
                }
                self.beat = None;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
            }
            Some(Piece::Silence) => {
                self.pieces.push_front(Piece::Silence);
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
