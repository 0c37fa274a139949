//! The answers of LINE's API, by HTTP status; LINE does not guarantee the texts of its errors.

use std::{error::Error, io, time::Duration};

/// LINE's answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// 200, or 206 where a part was requested: the requested value.
    Got(T),
    /// 202: the content is still being prepared.
    NotReady,
    /// 404: unknown, or not for this channel.
    NotFound,
    /// 410: the message was unsent.
    Gone,
    /// 401 (the token is not, or no longer, valid) or 403.
    Refused(u16),
    /// 429 (rate limit): retry after this time; `None` if LINE does not state one.
    TooMany(Option<Duration>),
    /// Any other 4xx except 408: the same request will never succeed.
    Never(u16),
    /// No reliable answer: retry later.
    Trouble(Trouble),
}

/// Why there was no reliable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 408, 5xx, or a status that LINE does not use.
    Status(u16),
    /// No answer within the time limit.
    Timeout,
    /// The connection could not be made, or broke.
    Connection(Break),
    /// The answer is too large, not of the format that this request has, or encoded, as by a proxy that compresses.
    Unreadable,
}

/// Where a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// DNS did not find the host's name.
    Name,
    /// The host, or a firewall before it, refused the connection.
    Refused,
    /// There is no route to the host or its network.
    Unreachable,
    /// The certificate is not trusted, or the host does not speak TLS.
    Tls,
    /// Any other failure.
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
    /// Finds the first known kind of failure in the chain of an error's sources.
    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<rustls::Error>() {
            return Some(Self::Tls);
        }
        // A failed DNS look-up has no error type of its own.
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
    /// Replaces the value of `Got` by the result of `read`; a failure of `read` becomes `Trouble`.
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
    /// The answer for `status`; `got` is its value if the status is 200. `retry_after` is the header of that name, of
    /// which only a number of seconds is understood.
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

    /// The answer of a client whose API is at `host`.
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
        // A resolver refuses a label of more than 63 letters without a query. TLS refuses such a name too, hence
        // `http`.
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
