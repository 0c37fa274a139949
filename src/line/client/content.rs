//! The file of a message while it is downloaded.

use bytes::Bytes;
use reqwest::{
    Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
        HeaderName, HeaderValue,
    },
};

use super::Trouble;

/// Headers of a request for a body that no proxy may compress: without them, any coding is acceptable (RFC 9110,
/// 12.5.3). A compressed body would be kept as the file, and its length and parts would not be the file's.
pub fn as_it_is() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))])
}

/// A file or a preview whose bytes have not been read yet.
#[derive(Debug)]
pub struct Content(Response);

impl From<Response> for Content {
    fn from(response: Response) -> Self {
        Self(response)
    }
}

impl Content {
    /// `Content-Type` without its parameters, lower case: the type that LINE, or the sender's server, declares. `None`
    /// if it is missing or malformed.
    pub fn media_type(&self) -> Option<String> {
        media_type(self.header(CONTENT_TYPE)?)
    }

    /// Whether the body is compressed, or encoded in another way, although [`as_it_is`] excludes it.
    pub fn is_encoded(&self) -> bool {
        is_encoded(&self.0)
    }

    /// `Content-Length`: the number of bytes that follow; `None` if LINE does not state it.
    pub fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    /// The position of the first byte that follows, by `Content-Range` (RFC 9110, 14.4); `None` if this is not a part.
    pub(super) fn begins_at(&self) -> Option<u64> {
        let (first, _) = range(self.header(CONTENT_RANGE)?)?;
        (self.0.status() == StatusCode::PARTIAL_CONTENT).then_some(first)
    }

    /// Size in bytes of the whole file, of which this is a part; `None` if it is not a part, or LINE does not state the
    /// size.
    pub fn whole(&self) -> Option<u64> {
        range(self.header(CONTENT_RANGE)?)?.1
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// If the connection breaks, or no byte arrives for 30 s.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        self.0.chunk().await.map_err(|error| (&error).into())
    }

    /// All bytes; `None` if there are more than `limit`.
    ///
    /// # Errors
    /// As [`Content::chunk`].
    pub async fn bytes(mut self, limit: usize) -> Result<Option<Vec<u8>>, Trouble> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }
}

/// As [`Content::is_encoded`].
pub(super) fn is_encoded(response: &Response) -> bool {
    let codings = response.headers().get_all(CONTENT_ENCODING);
    codings.iter().any(|coding| {
        let coding = coding.as_bytes().trim_ascii();
        !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// The position of the first byte and the size of the whole, from a value like `bytes 5-9/10`.
fn range(header: &str) -> Option<(u64, Option<u64>)> {
    let (part, whole) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = part.split_once('-')?;
    Some((first.trim().parse().ok()?, whole.trim().parse().ok()))
}

/// `type/subtype` from a header's value; `None` if it is malformed.
fn media_type(header: &str) -> Option<String> {
    let essence = header.split(';').next()?.trim().to_ascii_lowercase();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let (kind, subtype) = essence.split_once('/')?;
    (essence.len() <= 100 && token(kind) && token(subtype)).then_some(essence)
}

#[cfg(test)]
mod tests {
    use super::{media_type, range};

    #[test]
    fn a_range_says_where_it_begins_and_of_how_much() {
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for wrong in ["bytes */10", "5-9/10", "bytes 5-9", "bytes -9/10", ""] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_media_type_is_a_pair_of_words_or_nothing() {
        assert_eq!(media_type("Image/JPEG").as_deref(), Some("image/jpeg"));
        assert_eq!(
            media_type("audio/x-m4a; codecs=\"x\"").as_deref(),
            Some("audio/x-m4a")
        );
        for wrong in [
            "",
            "image",
            "/",
            "image/",
            "a/b/c",
            "a b/c",
            "text/<b>",
            &format!("a/{}", "b".repeat(100)),
        ] {
            assert_eq!(media_type(wrong), None, "{wrong}");
        }
    }
}
