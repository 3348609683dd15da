//! Escapes control characters in text from the daemon, so that it cannot move the cursor, change colors or add lines.

use std::borrow::Cow;

/// Escapes every control character, line ends included, so that the text fits in one line.
pub(crate) fn single_line(text: &str) -> String {
    escape(text, |_| false).into_owned()
}

/// Escapes every control character except line ends and tabs.
pub(crate) fn multi_line(text: &str) -> Cow<'_, str> {
    escape(text, |character| matches!(character, '\n' | '\t'))
}

fn escape(text: &str, is_allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |character: char| character.is_control() && !is_allowed(character);
    if !text.contains(is_escaped) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_escaped(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(single_line("a\u{1b}[2J\r\nb\tc"), r"a\u{1b}[2J\r\nb\tc");
        assert_eq!(multi_line("a\u{1b}[2J\n\tb\u{9b}"), "a\\u{1b}[2J\n\tb\\u{9b}");
        assert!(matches!(multi_line("ä\n"), Cow::Borrowed("ä\n")));
    }
}
