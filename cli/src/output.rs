use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::escape;
use crate::exit::Failure;

/// Writes text to stdout, and adds a line end if there is none.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Writes a line to stderr. A failure is ignored: the command does not depend on its messages.
pub(crate) fn note(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}

/// Writes the text of a model to stdout. On a terminal, control characters are escaped.
pub(crate) fn content(content: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() { text(&escape::multi_line(content)) } else { text(content) }
}

/// Writes a value to stdout as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    text(&one_line(value)?)
}

/// A value of one of several daemons: as JSON it has the field `daemon`, the URL. `None` if there is only one daemon.
#[derive(Serialize)]
pub(crate) struct OfDaemon<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) daemon: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) value: &'a T,
}

fn one_line(value: &impl Serialize) -> Result<String, Failure> {
    // A raw value may contain line ends. In valid JSON they occur only between tokens.
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    Ok(json.replace(['\n', '\r'], " "))
}

/// Writes a table to stdout. Each column is as wide as its widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    text(&columns(head, rows))
}

/// The same without the `optional` columns that have no value in any row.
pub(crate) fn table_with(head: &[&str], optional: &[&str], mut rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let is_shown = |at: usize, rows: &[Vec<String>]| {
        let is_empty = |row: &Vec<String>| row.get(at).is_none_or(String::is_empty);
        !optional.contains(&head[at]) || !rows.iter().all(is_empty)
    };
    let shown: Vec<usize> = (0..head.len()).filter(|at| is_shown(*at, &rows)).collect();
    let head: Vec<&str> = shown.iter().map(|at| head[*at]).collect();
    for row in &mut rows {
        *row = shown.iter().filter_map(|at| row.get(*at).cloned()).collect();
    }
    table(&head, &rows)
}

fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let mut widths = vec![0; head.len()];
    for row in lines() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut table = String::new();
    for row in lines() {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn raw_json_is_printed_in_one_line() {
        let raw: Box<RawValue> = serde_json::from_str("{\r\n  \"a\": \"b\\nc\"\n}").unwrap();
        assert_eq!(one_line(&raw).unwrap(), r#"{    "a": "b\nc" }"#);
    }

    #[test]
    fn columns_fit_widest_cell() {
        let rows = [vec!["1".to_owned(), "running".to_owned()], vec!["a long id".to_owned(), String::new()]];
        assert_eq!(columns(&["ID", "STATE"], &rows), "ID         STATE\n1          running\na long id\n");
    }
}
