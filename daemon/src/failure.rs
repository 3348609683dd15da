/// Formats an error and its causes as the text of a job's `error`.
///
/// Some crates repeat the cause in `Display`. A cause that the text already contains is left out.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_not_repeated() {
        let cause = std::io::Error::other("no memory");
        let error = crate::InvalidValue::new("model", "cannot be loaded").with_source(cause);
        assert_eq!(failure(&error), "invalid model: cannot be loaded: no memory");
        let repeating = crate::InvalidValue::new("model", "no memory").with_source(std::io::Error::other("no memory"));
        assert_eq!(failure(&repeating), "invalid model: no memory");
    }
}
