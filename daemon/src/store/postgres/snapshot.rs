use std::num::ParseIntError;
use std::str::FromStr;

/// A snapshot of the database: the transactions before `next` that are not in progress have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// In the syntax of the database.
    pub(super) text: String,
    /// The first transaction that is later than all that have ended.
    pub(super) next: i64,
    /// The earlier transactions that have not ended, of all sessions of the server.
    pub(super) in_progress: Vec<i64>,
}

impl FromStr for Snapshot {
    type Err = ParseIntError;

    /// Parses the text of a `pg_snapshot`, such as `10:20:10,14`.
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let mut parts = text.splitn(3, ':').skip(1);
        let next = parts.next().unwrap_or_default().parse()?;
        let in_progress = parts.next().unwrap_or_default();
        let in_progress = in_progress.split_terminator(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), next, in_progress })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_database_is_parsed() {
        let parsed = |text: &str| text.parse::<Snapshot>().ok().map(|snapshot| (snapshot.next, snapshot.in_progress));
        assert_eq!(parsed("10:20:10,14"), Some((20, vec![10, 14])));
        assert_eq!(parsed("20:20:"), Some((20, vec![])));
        for text in ["", "20", "20:", "20:x:", "10:20:x"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
