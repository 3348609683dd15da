/// An error as the text of a job's `error`: the phrase and its causes, each once.
///
/// Some crates repeat the cause in `Display`, others keep it to `source()`; a cause that is there already is left out.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("no memory");
        let error = crate::InvalidValue::new("model", "cannot be loaded").with_source(cause);
        assert_eq!(failure(&error), "invalid model: cannot be loaded: no memory");
        let repeating = crate::InvalidValue::new("model", "no memory").with_source(std::io::Error::other("no memory"));
        assert_eq!(failure(&repeating), "invalid model: no memory");
    }
}
