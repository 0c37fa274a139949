//! A client of LINE's API: profiles, group summaries, and the files of messages.

mod answer;
mod content;
mod document;

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder, Response,
    header::{AUTHORIZATION, HeaderValue, RANGE, RETRY_AFTER},
    redirect::Policy,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

pub use answer::{Answer, Break, Trouble};
pub use content::{Content, as_it_is};
pub use document::Document;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Read timeout: the longest silence before and within an answer. The whole transfer has no limit: a video may take
/// long.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for the whole of an answer that is a small document.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(15);
const DOCUMENT_SIZE: usize = 64 * 1024;

/// Why no client could be made: the machine has no usable TLS root certificates, or a URL cannot have a path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TLS could not be set up.
    #[error("no HTTPS client could be made; are the machine's root certificates installed?")]
    Tls,
    /// A URL is not `http` or `https`.
    #[error("the URL of LINE's API must begin with http:// or https://")]
    Address,
}

/// LINE's progress with the file of a video or voice message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transcoding {
    /// In progress, or a status that LINE has not documented.
    Processing,
    /// The content can be fetched.
    Succeeded,
    /// The content will never be available.
    Failed,
}

/// Where LINE sends a channel's webhooks. The URL may contain secrets: never show it.
#[derive(Deserialize)]
pub struct WebhookEndpoint {
    /// The URL of the webhook endpoint.
    pub endpoint: String,
    /// False if "Use webhook" is off.
    pub active: bool,
}

/// A client of LINE's two hosts, for any channel: each call takes a channel access token. Clones share the connections.
#[derive(Clone, Debug)]
pub struct LineApi {
    http: Client,
    api: Url,
    data: Url,
}

impl LineApi {
    /// `api` and `data` are `https://api.line.me` and `https://api-data.line.me`, or substitutes for them.
    ///
    /// # Errors
    /// [`Error::Address`] if a URL is not `http` or `https`, [`Error::Tls`] if TLS cannot be set up.
    pub fn new(api: Url, data: Url) -> Result<Self, Error> {
        if [&api, &data]
            .iter()
            .any(|url| !["http", "https"].contains(&url.scheme()))
        {
            return Err(Error::Address);
        }
        // This fails if a provider was installed before, which is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .user_agent(concat!("line-chat-archive/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .default_headers(as_it_is())
            .redirect(Policy::none())
            .build()
            .map_err(|_| Error::Tls)?;
        Ok(Self { http, api, data })
    }

    /// The file of an image, video, audio or file message.
    pub async fn content(&self, token: &SecretString, message: &str) -> Answer<Content> {
        let path = ["message", message, "content"];
        self.get("content", &self.data, &path, None, token)
            .await
            .read(async |response| Ok(response.into()))
            .await
    }

    /// The same file without its first `from` bytes, to resume a transfer that broke off; `None` if LINE does not send
    /// a part, or sends another part. LINE's documentation neither promises nor excludes range requests.
    pub async fn content_from(
        &self,
        token: &SecretString,
        message: &str,
        from: u64,
    ) -> Answer<Option<Content>> {
        let path = ["message", message, "content"];
        let request = self.request(&self.data, &path, token);
        let request = request.map(|request| request.header(RANGE, format!("bytes={from}-")));
        send("content", request, &[200, 206])
            .await
            .read(async |response| {
                let content = Content::from(response);
                Ok((content.begins_at() == Some(from)).then_some(content))
            })
            .await
    }

    /// LINE's preview of an image or video message; 400 ([`Answer::Never`]) for all others.
    pub async fn preview(&self, token: &SecretString, message: &str) -> Answer<Content> {
        let path = ["message", message, "content", "preview"];
        self.get("preview", &self.data, &path, None, token)
            .await
            .read(async |response| Ok(response.into()))
            .await
    }

    /// LINE's progress with the file of a video or audio message; 400 ([`Answer::Never`]) for all others.
    pub async fn transcoding(&self, token: &SecretString, message: &str) -> Answer<Transcoding> {
        #[derive(Deserialize)]
        struct Status {
            status: String,
        }
        let path = ["message", message, "content", "transcoding"];
        self.get(
            "transcoding",
            &self.data,
            &path,
            Some(DOCUMENT_TIMEOUT),
            token,
        )
        .await
        .read(async |response| {
            let json = small(response).await?;
            let status: Status = serde_json::from_slice(&json).map_err(|_| Trouble::Unreadable)?;
            Ok(match &*status.status {
                "succeeded" => Transcoding::Succeeded,
                "failed" => Transcoding::Failed,
                _ => Transcoding::Processing,
            })
        })
        .await
    }

    /// The profile of a user who is a friend of the account, or was seen with consent.
    pub async fn profile(&self, token: &SecretString, user: &str) -> Answer<Document> {
        self.document("profile", &["profile", user], token).await
    }

    /// The profile of a member of a group chat; no friendship is needed.
    pub async fn group_member(
        &self,
        token: &SecretString,
        group: &str,
        user: &str,
    ) -> Answer<Document> {
        let path = ["group", group, "member", user];
        self.document("group member", &path, token).await
    }

    /// The profile of a member of a multi-person chat; no friendship is needed.
    pub async fn room_member(
        &self,
        token: &SecretString,
        room: &str,
        user: &str,
    ) -> Answer<Document> {
        let path = ["room", room, "member", user];
        self.document("room member", &path, token).await
    }

    /// Name and picture of a group chat. Multi-person chats have neither.
    pub async fn group_summary(&self, token: &SecretString, group: &str) -> Answer<Document> {
        let path = ["group", group, "summary"];
        self.document("group summary", &path, token).await
    }

    /// Checks that LINE accepts the token, by a request for the account's own profile.
    pub async fn bot_info(&self, token: &SecretString) -> Answer<()> {
        self.get(
            "bot info",
            &self.api,
            &["info"],
            Some(DOCUMENT_TIMEOUT),
            token,
        )
        .await
        .read(async |_| Ok(()))
        .await
    }

    /// Where LINE sends the channel's webhooks; 404 ([`Answer::NotFound`]) if no webhook endpoint is set.
    pub async fn webhook_endpoint(&self, token: &SecretString) -> Answer<WebhookEndpoint> {
        let path = ["channel", "webhook", "endpoint"];
        self.get(
            "webhook endpoint",
            &self.api,
            &path,
            Some(DOCUMENT_TIMEOUT),
            token,
        )
        .await
        .read(async |response| {
            let json = small(response).await?;
            serde_json::from_slice(&json).map_err(|_| Trouble::Unreadable)
        })
        .await
    }

    async fn document(
        &self,
        what: &'static str,
        path: &[&str],
        token: &SecretString,
    ) -> Answer<Document> {
        self.get(what, &self.api, path, Some(DOCUMENT_TIMEOUT), token)
            .await
            .read(async |response| Document::new(small(response).await?).ok_or(Trouble::Unreadable))
            .await
    }

    /// Sends a GET request; `limit` bounds the time for the whole answer.
    async fn get(
        &self,
        what: &'static str,
        host: &Url,
        path: &[&str],
        limit: Option<Duration>,
        token: &SecretString,
    ) -> Answer<Response> {
        let request = self.request(host, path, token);
        let request = request.map(|request| match limit {
            Some(limit) => request.timeout(limit),
            None => request,
        });
        send(what, request, &[200]).await
    }

    /// A GET request with the token. `None` if the token has characters that a header cannot have, and so is not
    /// LINE's.
    fn request(&self, host: &Url, path: &[&str], token: &SecretString) -> Option<RequestBuilder> {
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut bearer = HeaderValue::try_from(bearer).ok()?;
        bearer.set_sensitive(true);
        let request = self.http.get(address(host, path));
        Some(request.header(AUTHORIZATION, bearer))
    }
}

/// Sends a request. Logs the status and request id of an answer that is not a success; never the URL, the token or a
/// body.
async fn send(
    what: &'static str,
    request: Option<RequestBuilder>,
    success: &[u16],
) -> Answer<Response> {
    let Some(request) = request else {
        return Answer::Refused(401);
    };
    match request.send().await {
        Ok(response) => {
            let status = match response.status().as_u16() {
                status if success.contains(&status) => 200,
                status => status,
            };
            if status != 200 {
                tracing::debug!(
                    what,
                    status,
                    request_id = request_id(&response),
                    "LINE answered"
                );
            }
            if status == 200 && content::is_encoded(&response) {
                return Answer::Trouble(Trouble::Unreadable);
            }
            let retry_after = response.headers().get(RETRY_AFTER).cloned();
            let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
            Answer::of(status, retry_after, response)
        }
        Err(error) => {
            let trouble = Trouble::from(&error);
            tracing::debug!(what, ?trouble, "LINE did not answer");
            Answer::Trouble(trouble)
        }
    }
}

/// The URL of `path` below `/v2/bot` of `host`. Ids come from webhooks, so each is encoded as one path segment,
/// whatever it contains.
fn address(host: &Url, path: &[&str]) -> Url {
    let mut url = host.clone();
    url.set_query(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["v2", "bot"]).extend(path);
    }
    url
}

async fn small(response: Response) -> Result<Vec<u8>, Trouble> {
    let bytes = Content::from(response).bytes(DOCUMENT_SIZE).await?;
    bytes.ok_or(Trouble::Unreadable)
}

/// `x-line-request-id`, for a question to LINE's support; `None` if the value does not look like a request id.
fn request_id(response: &Response) -> Option<&str> {
    let id = response.headers().get("x-line-request-id")?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (id.len() <= 64 && id.bytes().all(plain)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_whatever_it_holds() {
        let host = Url::parse("https://api.example.com").unwrap();
        let of = |id| address(&host, &["profile", id]).to_string();
        assert_eq!(of("U1"), "https://api.example.com/v2/bot/profile/U1");
        assert_eq!(of("a/b"), "https://api.example.com/v2/bot/profile/a%2Fb");
        assert_eq!(
            of("a?b#c"),
            "https://api.example.com/v2/bot/profile/a%3Fb%23c"
        );
        assert_eq!(
            of("%2e%2e"),
            "https://api.example.com/v2/bot/profile/%252e%252e"
        );
        assert_eq!(of("a\\b"), "https://api.example.com/v2/bot/profile/a%5Cb");
        for dots in [".", ".."] {
            assert_eq!(of(dots), "https://api.example.com/v2/bot/profile");
        }
    }

    #[test]
    fn a_host_may_lie_below_a_path() {
        let host = Url::parse("http://127.0.0.1:9/line/?x").unwrap();
        assert_eq!(
            address(&host, &["profile", "U1"]).as_str(),
            "http://127.0.0.1:9/line/v2/bot/profile/U1"
        );
    }

    #[test]
    fn other_addresses_are_refused() {
        let url = |text: &str| Url::parse(text).unwrap();
        let made = LineApi::new(url("https://api.line.me"), url("file:///tmp"));
        assert!(matches!(made, Err(Error::Address)));
    }
}
