//! What LINE's API can say, by status; the texts of its errors are not contractual.

use std::{error::Error, io, time::Duration};

/// LINE's answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// 200, and only 200: what was asked for.
    Got(T),
    /// 202: the content is still being prepared.
    NotReady,
    /// 404: unknown, or not for this channel.
    NotFound,
    /// 410: the message was unsent.
    Gone,
    /// 401 (the token is not, or no longer, valid) or 403.
    Refused(u16),
    /// 429: ask again after this long, where LINE says how long.
    TooMany(Option<Duration>),
    /// Any other 4xx: the same request will never be answered otherwise.
    Never(u16),
    /// Nothing that can be relied on; ask again later.
    Trouble(Trouble),
}

/// Why there was no answer that can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 5xx, or a status that LINE does not use.
    Status(u16),
    /// Nothing came within the time limit.
    Timeout,
    /// No connection, or it broke.
    Connection(Break),
    /// An answer that is not what this request is answered with, or too large.
    Unreadable,
}

/// Where a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The name of the host was not found.
    Name,
    /// The host, or a firewall before it, refused the connection.
    Refused,
    /// This machine knows no way to the host.
    Unreachable,
    /// The certificate is not to be trusted, or the other end does not speak TLS.
    Tls,
    /// Anywhere else.
    Other,
}

impl From<&reqwest::Error> for Trouble {
    fn from(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Connection(Break::of(error).unwrap_or(Break::Other))
        }
    }
}

impl Break {
    /// Looks for what is known among the causes of an error.
    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<rustls::Error>() {
            return Some(Self::Tls);
        }
        // A failed look-up has no type of its own.
        if error.to_string().starts_with("dns error") {
            return Some(Self::Name);
        }
        let io = error.downcast_ref::<io::Error>();
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return Some(Self::Refused),
            Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                return Some(Self::Unreachable);
            }
            _ => {}
        }
        // `source` of an I/O error skips the error it wraps, and returns that one's source.
        let wrapped = io.and_then(io::Error::get_ref);
        let wrapped = wrapped.and_then(|error| Self::of(error));
        wrapped.or_else(|| Self::of(error.source()?))
    }
}

impl<T> Answer<T> {
    /// Puts `read`'s value in the place of what was got.
    pub(super) async fn read<U>(
        self,
        read: impl AsyncFnOnce(T) -> Result<U, Trouble>,
    ) -> Answer<U> {
        match self {
            Self::Got(got) => read(got).await.map_or_else(Answer::Trouble, Answer::Got),
            Self::NotReady => Answer::NotReady,
            Self::NotFound => Answer::NotFound,
            Self::Gone => Answer::Gone,
            Self::Refused(status) => Answer::Refused(status),
            Self::TooMany(after) => Answer::TooMany(after),
            Self::Never(status) => Answer::Never(status),
            Self::Trouble(trouble) => Answer::Trouble(trouble),
        }
    }
}

impl<T> Answer<T> {
    /// What `status` means; `got` is the answer if it is 200. `retry_after` is the header of that name.
    pub(super) fn of(status: u16, retry_after: Option<&str>, got: T) -> Self {
        match status {
            200 => Self::Got(got),
            202 => Self::NotReady,
            404 => Self::NotFound,
            410 => Self::Gone,
            401 | 403 => Self::Refused(status),
            429 => Self::TooMany(
                retry_after
                    .and_then(|seconds| seconds.trim().parse().ok())
                    .map(Duration::from_secs),
            ),
            408 => Self::Trouble(Trouble::Status(status)),
            400..500 => Self::Never(status),
            _ => Self::Trouble(Trouble::Status(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use url::Url;

    use super::*;
    use crate::line::client::LineApi;

    /// Why LINE cannot be asked at this address.
    async fn trouble(host: &str) -> Answer<()> {
        let host = Url::parse(host).unwrap();
        let line = LineApi::new(host.clone(), host).unwrap();
        line.bot_info(&"token".to_owned().into()).await
    }

    #[tokio::test]
    async fn a_failed_connection_says_where_it_failed() {
        let broken = |at| Answer::Trouble(Trouble::Connection(at));
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let closed = port(&TcpListener::bind("127.0.0.1:0").unwrap());
        let refused = trouble(&format!("https://127.0.0.1:{closed}")).await;
        assert_eq!(refused, broken(Break::Refused));
        // No resolver asks anybody for a label of more than 63 letters. TLS has no name for it either.
        let name = trouble(&format!("http://{}.invalid", "a".repeat(64))).await;
        assert_eq!(name, broken(Break::Name));

        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("https://127.0.0.1:{}", port(&plain));
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = plain.accept().unwrap();
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            std::io::Read::read(&mut stream, &mut [0; 1024]).unwrap();
        });
        assert_eq!(trouble(&at).await, broken(Break::Tls));
        answers.join().unwrap();
    }

    #[test]
    fn only_200_is_content_and_every_refusal_has_its_own_meaning() {
        let of = |status| Answer::of(status, None, ());
        assert_eq!(of(200), Answer::Got(()));
        assert_eq!(of(202), Answer::NotReady);
        assert_eq!(of(404), Answer::NotFound);
        assert_eq!(of(410), Answer::Gone);
        assert_eq!(of(401), Answer::Refused(401));
        assert_eq!(of(403), Answer::Refused(403));
        assert_eq!(of(429), Answer::TooMany(None));
        for never in [400, 405, 413, 415, 422, 451] {
            assert_eq!(of(never), Answer::Never(never));
        }
        for trouble in [201, 204, 206, 301, 302, 307, 408, 500, 502, 503, 504, 599] {
            assert_eq!(of(trouble), Answer::Trouble(Trouble::Status(trouble)));
        }
    }

    #[test]
    fn a_wait_is_read_only_where_it_is_a_number_of_seconds() {
        let wait = |header| Answer::of(429, Some(header), ());
        assert_eq!(wait(" 7 "), Answer::TooMany(Some(Duration::from_secs(7))));
        assert_eq!(wait("-1"), Answer::TooMany(None));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), Answer::TooMany(None));
    }
}
