//! What a daemon says, made fit for a terminal: it must not move the cursor, change colours or add lines.

use std::borrow::Cow;

/// One line: every control character, line ends included, as its escape.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false).into_owned()
}

/// Lines: all control characters but line ends and tabs as their escapes.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| matches!(character, '\n' | '\t'))
}

fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |character: char| character.is_control() && !keeps(character);
    if !text.contains(harmful) {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if harmful(character) {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_do_nothing() {
        assert_eq!(line("a\u{1b}[2J\r\nb\tc"), r"a\u{1b}[2J\r\nb\tc");
        assert_eq!(lines("a\u{1b}[2J\n\tb\u{9b}"), "a\\u{1b}[2J\n\tb\\u{9b}");
        assert!(matches!(lines("ä\n"), Cow::Borrowed("ä\n")));
    }
}
