use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use tokio::io::AsyncReadExt as _;

use crate::exit::Failure;

/// The maximum size of an input, in bytes. A daemon accepts less.
const MAX_BYTES: u64 = 256 << 20;

/// Reads a text file.
pub(crate) fn file(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let mut read = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut read))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {name}: {error}")))?;
    text(&name, read, MAX_BYTES)
}

/// Reads stdin to its end.
pub(crate) async fn stdin() -> Result<String, Failure> {
    let mut read = Vec::new();
    let ended = tokio::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut read).await;
    ended.map_err(|error| io::Error::new(error.kind(), format!("cannot read stdin: {error}")))?;
    text("stdin", read, MAX_BYTES)
}

/// The text of an argument, or stdin if it is `-`. Blank text is an error: the command that should have written it has failed, or its
/// variable is unset.
pub(crate) async fn argument(name: &str, text: String) -> Result<String, Failure> {
    let (name, text) = if text == "-" { ("stdin", stdin().await?) } else { (name, text) };
    if text.trim().is_empty() { Err(Failure::Usage(format!("{name} is empty"))) } else { Ok(text) }
}

/// Decodes UTF-8, and removes a leading byte order mark.
fn text(name: &str, bytes: Vec<u8>, max_bytes: u64) -> Result<String, Failure> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max_bytes) {
        return Err(Failure::Usage(format!("{name} is larger than {max_bytes} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{name} is not valid UTF-8")))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf_8_and_limited() {
        assert_eq!(text("a", b"\xef\xbb\xbfhi\r\n".to_vec(), 9).unwrap(), "hi\r\n");
        assert_eq!(text("a", Vec::new(), 9).unwrap(), "");
        let error = |bytes: &[u8], max_bytes| text("stdin", bytes.to_vec(), max_bytes).unwrap_err();
        assert!(matches!(error(b"a\xff", 9), Failure::Usage(message) if message == "stdin is not valid UTF-8"));
        assert!(matches!(error(b"abc", 2), Failure::Usage(message) if message == "stdin is larger than 2 bytes"));
    }
}
