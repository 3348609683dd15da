use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use tokio::io::AsyncReadExt as _;

use crate::exit::Failure;

/// What is read at most, in bytes: more than daemons take, and less than the machine's memory.
const MOST: u64 = 256 << 20;

/// The text of a file that was named.
pub(crate) fn file(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let mut read = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST + 1).read_to_end(&mut read))
        .map_err(|error| Failure::Usage(format!("{name} cannot be read: {error}")))?;
    text(&name, read, MOST)
}

/// All of stdin.
pub(crate) async fn stdin() -> Result<String, Failure> {
    let mut read = Vec::new();
    let ended = tokio::io::stdin().take(MOST + 1).read_to_end(&mut read).await;
    ended.map_err(|error| io::Error::new(error.kind(), format!("stdin cannot be read: {error}")))?;
    text("stdin", read, MOST)
}

/// What was given, or stdin for `-`.
pub(crate) async fn given(text: String) -> Result<String, Failure> {
    if text == "-" { stdin().await } else { Ok(text) }
}

/// The text without the byte order mark that some editors begin their files with.
fn text(name: &str, bytes: Vec<u8>, most: u64) -> Result<String, Failure> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        return Err(Failure::Usage(format!("{name} is longer than {most} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{name} is not UTF-8")))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_utf_8_and_no_longer_than_can_be_held() {
        assert_eq!(text("a", b"\xef\xbb\xbfhi\r\n".to_vec(), 9).unwrap(), "hi\r\n");
        assert_eq!(text("a", Vec::new(), 9).unwrap(), "");
        let why = |bytes: &[u8], most| text("stdin", bytes.to_vec(), most).unwrap_err();
        assert!(matches!(why(b"a\xff", 9), Failure::Usage(why) if why == "stdin is not UTF-8"));
        assert!(matches!(why(b"abc", 2), Failure::Usage(why) if why == "stdin is longer than 2 bytes"));
    }
}
