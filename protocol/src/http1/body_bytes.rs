use bytes::{Buf, BufMut as _, Bytes, BytesMut};

/// The data of a body that is read frame by frame. Most bodies are one frame, which is not copied.
#[derive(Debug, Default)]
pub struct BodyBytes {
    first: Bytes,
    /// All data, if there is more than the first frame.
    all: BytesMut,
}

impl BodyBytes {
    /// The length of the data so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// How much memory a body of so many bytes may take, in bytes: a buffer that grows has room for as much again.
    #[must_use]
    pub fn memory(bytes: usize) -> usize {
        bytes.saturating_mul(2)
    }

    /// Whether there is no data so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the data of the next frame.
    pub fn push(&mut self, mut data: impl Buf) {
        if self.is_empty() {
            self.first = data.copy_to_bytes(data.remaining());
        } else {
            self.all.reserve(self.first.len() + data.remaining());
            self.all.put(std::mem::take(&mut self.first));
            self.all.put(data);
        }
    }

    /// Takes all data out.
    pub fn take(&mut self) -> Bytes {
        if self.all.is_empty() { std::mem::take(&mut self.first) } else { self.all.split().freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_joined_in_order() {
        for (frames, joined) in [
            (&[][..], ""),
            (&["a"], "a"),
            (&["", "a"], "a"),
            (&["a", ""], "a"),
            (&["a", "bc"], "abc"),
            (&["", "a", "", "bc", "d"], "abcd"),
        ] {
            let mut body = BodyBytes::default();
            frames.iter().for_each(|frame| body.push(frame.as_bytes()));
            assert_eq!((body.len(), body.is_empty()), (joined.len(), joined.is_empty()), "{frames:?}");
            assert_eq!(body.take(), joined, "{frames:?}");
            assert!(body.is_empty() && body.take().is_empty(), "{frames:?}");
        }
    }

    #[test]
    fn single_frame_is_not_copied() {
        let frame = Bytes::from(vec![7; 100]);
        let mut body = BodyBytes::default();
        body.push(frame.clone());
        assert_eq!(body.take().as_ptr(), frame.as_ptr());
    }
}
