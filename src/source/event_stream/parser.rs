//! Server-sent events (HTML standard, section 9.2.6), without the reconnection time, which is the client's own.

use std::mem::take;

/// The size limit of one event, in bytes. The daemon leaves out results over 64 KiB; an `error` may still be long.
const MAX_EVENT: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Makes events of the bytes of a stream. It has no I/O, and holds at most one event.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that has not ended.
    line: Vec<u8>,
    /// The rest of the line is of an event over the limit, and is not stored.
    discarding: bool,
    /// The last byte was a CR: an LF right after it belongs to it.
    after_cr: bool,
    /// A line has ended.
    started: bool,
    event: Event,
    last_id: Option<String>,
}

/// The fields of an event that has not ended.
#[derive(Debug, Default)]
struct Event {
    name: Vec<u8>,
    data: Vec<u8>,
    id: Option<String>,
    /// It is over the limit, and its data is not stored.
    oversized: bool,
}

/// What a stream contains.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `event: job`: the JSON of a job.
    Job(Vec<u8>),
    /// `event: reset`: events may be missing before this one.
    Reset,
    /// An event over the limit, which is left out.
    TooLarge,
}

impl Parser {
    /// Of a stream that continues after the event with this id.
    pub(super) fn new(last_id: Option<String>) -> Self {
        Self { last_id, ..Self::default() }
    }

    /// The id of the last event, to continue after it.
    pub(super) fn into_last_id(self) -> Option<String> {
        self.last_id
    }

    /// Whether a line has been read: a comment, a field or the end of an event.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// Reads to the end of the next event, or of the bytes.
    pub(super) fn read(&mut self, bytes: &mut &[u8]) -> Option<Item> {
        while let Some(first) = bytes.first() {
            if take(&mut self.after_cr) && *first == b'\n' {
                *bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            self.append(&bytes[..end.unwrap_or(bytes.len())]);
            let Some(end) = end else {
                *bytes = &[];
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            if let Some(item) = self.end_line() {
                return Some(item);
            }
        }
        None
    }

    fn append(&mut self, part: &[u8]) {
        if self.line.len() + self.event.data.len() + part.len() > MAX_EVENT {
            (self.event.oversized, self.discarding) = (true, true);
            (self.line, self.event.data) = (Vec::new(), Vec::new());
        }
        if !self.discarding {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) -> Option<Item> {
        let line = take(&mut self.line);
        let first = !std::mem::replace(&mut self.started, true);
        if take(&mut self.discarding) {
            return None;
        }
        let line = if first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" if !self.event.oversized => {
                self.event.data.extend_from_slice(value);
                self.event.data.push(b'\n');
            }
            b"event" => self.event.name = value.to_vec(),
            b"id" if !value.contains(&0) => self.event.id = Some(String::from_utf8_lossy(value).into_owned()),
            // A comment, which has an empty name, or an unknown field.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Item> {
        let Event { name, data, id, oversized } = take(&mut self.event);
        if id.is_some() {
            self.last_id = id.filter(|id| !id.is_empty());
        }
        match &name[..] {
            _ if oversized => Some(Item::TooLarge),
            _ if data.is_empty() => None,
            b"job" => Some(Item::Job(data)),
            b"reset" => Some(Item::Reset),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The events of a stream that arrives in these parts, and its last id.
    fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, Option<String>) {
        let (mut parser, mut items) = (Parser::default(), Vec::new());
        for mut part in parts {
            while let Some(item) = parser.read(&mut part) {
                items.push(item);
            }
            assert!(part.is_empty());
        }
        (items, parser.into_last_id())
    }

    fn job(data: &str) -> Item {
        Item::Job(data.into())
    }

    #[test]
    fn fields_make_events() {
        for (stream, items, last_id) in [
            ("id: 1\nevent: job\ndata: {}\n\n", vec![job("{}\n")], Some("1")),
            ("id:1\r\nevent:job\r\ndata:{\r\ndata: }\r\n\r\n", vec![job("{\n}\n")], Some("1")),
            ("id: a-7\revent: job\rdata:  x\r\r", vec![job(" x\n")], Some("a-7")),
            ("\u{feff}event: reset\ndata: {}\nid: 9\n\n", vec![Item::Reset], Some("9")),
            // A position, a comment, an unknown field and an unknown event.
            ("id: 3\n\n", vec![], Some("3")),
            (":\n\n: hi\n\nretry: 5\n\nevent: other\ndata: 1\n\ndata: 2\n\n", vec![], None),
            // Fields without a value, an id that is taken back, an id with a NUL.
            ("id: 3\n\nid\n\n", vec![], None),
            ("id: 3\n\nid: \0\nevent: job\ndata\n\n", vec![job("\n")], Some("3")),
            // Without data, and without an end.
            ("event: job\n\n", vec![], None),
            ("id: 4\nevent: job\ndata: {}\n", vec![], None),
        ] {
            assert_eq!(read([stream.as_bytes()]), (items, last_id.map(str::to_owned)), "{stream:?}");
        }
    }

    #[test]
    fn event_over_the_limit_is_left_out() {
        let large = format!("id: 1\ndata: {}\n", "x".repeat(MAX_EVENT / 2));
        let stream = format!("{large}{large}{large}event: job\n\nevent: job\ndata: 2\n\n");
        let expected = (vec![Item::TooLarge, job("2\n")], Some("1".to_owned()));
        assert_eq!(read([stream.as_bytes()]), expected);
        let endless = vec![b'x'; 1 << 16];
        let mut parser = Parser::default();
        for _ in 0..1_000 {
            assert_eq!(parser.read(&mut &endless[..]), None);
            assert!(parser.line.capacity() <= MAX_EVENT * 2);
        }
    }

    proptest! {
        #[test]
        fn parts_do_not_matter(stream in "(data|id|event|:|job|reset| |\r|\n|\u{feff}|x){0,60}", cut in 1..9_usize) {
            let whole = read([stream.as_bytes()]);
            prop_assert_eq!(read(stream.as_bytes().chunks(cut)), whole);
        }
    }
}
