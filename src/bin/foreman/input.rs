use std::path::Path;

use tokio::io::AsyncReadExt as _;

use crate::exit::Failure;

/// The text of a file that was named.
pub(crate) fn file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", path.display())))
}

/// All of stdin.
pub(crate) async fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    tokio::io::stdin().read_to_string(&mut text).await?;
    Ok(text)
}

/// What was given, or stdin for `-`.
pub(crate) async fn given(text: String) -> Result<String, Failure> {
    if text == "-" { stdin().await } else { Ok(text) }
}
