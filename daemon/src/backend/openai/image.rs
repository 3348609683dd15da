use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How many base64 characters contain the longest magic number, which is WebP's.
const MAGIC: usize = 16;

/// A `data:` URL of a base64 image, or `None` if OpenAI's API does not support its media type.
pub(super) fn data_url(base64: &str) -> Option<String> {
    let media = media(&STANDARD.decode(base64.get(..MAGIC)?).ok()?)?;
    Some(format!("data:image/{media};base64,{base64}"))
}

fn media(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_follows_magic_number() {
        for (bytes, media) in [
            (&b"\x89PNG\r\n\x1a\n........"[..], Some("png")),
            (b"\xff\xd8\xff\xe0............", Some("jpeg")),
            (b"GIF87a..........", Some("gif")),
            (b"GIF89a..........", Some("gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("webp")),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"hello, I am a text", None),
            (b"\x89PNG\r\n", None),
        ] {
            let base64 = STANDARD.encode(bytes);
            assert_eq!(
                data_url(&base64),
                media.map(|media| format!("data:image/{media};base64,{base64}")),
                "{bytes:?}"
            );
        }
        for no_base64 in ["", "ää", "*****************", "aaaaaaaaaaaaaaaä"] {
            assert_eq!(data_url(no_base64), None);
        }
    }
}
