//! S3 requests that `opendal` does not offer: for unfinished uploads, and for the object lock of the bucket.

use std::time::Duration;

use futures_util::{Stream, TryStreamExt, stream};
use http::{Method, StatusCode};
use reqsign_aws_v4::{Credential, EMPTY_STRING_SHA256, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use reqwest::Client;
use serde::{Deserialize, de::IgnoredAny};
use url::Url;

use super::{Act, Error, REQUEST, TRIES, act::SKEWED};

/// Signs and sends requests. Clones share the connections.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    http: Client,
    bucket: Url,
    root: String,
    signer: Signer<Credential>,
}

/// An unfinished upload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upload {
    /// Name of the object, without the root.
    pub(super) name: String,
    id: String,
}

impl Requests {
    /// Requests for `bucket` at `endpoint`; names are below `root`, which is empty or ends with a slash.
    pub(super) fn new(
        http: Client,
        mut endpoint: Url,
        bucket: &str,
        root: String,
        region: &str,
        [id, secret, token]: [&str; 3],
    ) -> Self {
        let path = format!("{}/{bucket}", endpoint.path().trim_end_matches('/'));
        endpoint.set_path(&path);
        let mut key = StaticCredentialProvider::new(id, secret);
        if !token.is_empty() {
            key = key.with_session_token(token);
        }
        Self {
            http,
            bucket: endpoint,
            root,
            signer: Signer::new(Context::new(), key, RequestSigner::new("s3", region)),
        }
    }

    /// Unfinished uploads whose names begin with `prefix`.
    pub(super) fn uploads(
        &self,
        prefix: String,
    ) -> impl Stream<Item = Result<Upload, Error>> + Send + use<> {
        let requests = self.clone();
        let pages = stream::try_unfold(Some([const { String::new() }; 2]), move |markers| {
            let (requests, prefix) = (requests.clone(), prefix.clone());
            async move {
                let Some(markers) = markers else {
                    return Ok::<_, Error>(None);
                };
                let (uploads, next) = requests.page_of_uploads(&prefix, &markers).await?;
                Ok(Some((stream::iter(uploads.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten()
    }

    async fn page_of_uploads(
        &self,
        prefix: &str,
        [key, id]: &[String; 2],
    ) -> Result<(Vec<Upload>, Option<[String; 2]>), Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Page {
            #[serde(default)]
            is_truncated: bool,
            next_key_marker: Option<String>,
            next_upload_id_marker: Option<String>,
            #[serde(default)]
            upload: Vec<Found>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            key: String,
            upload_id: String,
        }
        let below = format!("{}{prefix}", self.root);
        let query = [
            ("uploads", ""),
            ("prefix", &below),
            ("key-marker", key),
            ("upload-id-marker", id),
        ];
        // Some servers treat an empty marker as a marker.
        let query = query
            .iter()
            .filter(|(name, value)| *name == "uploads" || !value.is_empty());
        let answer = self.ask(Act::ListUploads, Method::GET, "", query).await?;
        let page: Page = match answer {
            Answer::Ok(body) => read(Act::ListUploads, &body)?,
            Answer::Not(status, code) => return Err(meaning(Act::ListUploads, status, &code)),
        };
        let uploads = page.upload.into_iter().filter_map(|found| {
            Some(Upload {
                name: found.key.strip_prefix(&self.root)?.to_owned(),
                id: found.upload_id,
            })
        });
        let next = [
            page.next_key_marker.unwrap_or_default(),
            page.next_upload_id_marker.unwrap_or_default(),
        ];
        let more = page.is_truncated && next != [key.as_str(), id.as_str()];
        Ok((uploads.collect(), more.then_some(next)))
    }

    /// Aborts an upload. Idempotent: an upload that has ended already counts as aborted.
    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), Error> {
        let query = [("uploadId", upload.id.as_str())];
        match self
            .ask(Act::Abort, Method::DELETE, &upload.name, &query)
            .await?
        {
            Answer::Ok(_) => Ok(()),
            Answer::Not(_, code) if code == "NoSuchUpload" => Ok(()),
            Answer::Not(status, code) => Err(meaning(Act::Abort, status, &code)),
        }
    }

    /// Begins an upload of `name`.
    pub(super) async fn begin_upload(&self, name: &str) -> Result<(), Error> {
        let query = [("uploads", "")];
        match self.ask(Act::Write, Method::POST, name, &query).await? {
            Answer::Ok(_) => Ok(()),
            Answer::Not(status, code) => Err(meaning(Act::Write, status, &code)),
        }
    }

    /// Whether the bucket locks every object for a time by default.
    ///
    /// `false` also if the access key may not ask, or if the server has no object lock: then only a probe can tell.
    pub(super) async fn locks_everything(&self) -> Result<bool, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Lock {
            rule: Option<Rule>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Rule {
            default_retention: Option<IgnoredAny>,
        }
        let query = [("object-lock", "")];
        let answer = self.ask(Act::Lock, Method::GET, "", &query).await?;
        match answer {
            Answer::Ok(body) => {
                let lock: Lock = read(Act::Lock, &body)?;
                Ok(lock.rule.and_then(|rule| rule.default_retention).is_some())
            }
            Answer::Not(status, code) => match meaning(Act::Lock, status, &code) {
                error @ (Error::NoBucket | Error::BadCredentials) => Err(error),
                error if may_pass(status) => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// Sends a request, up to [`TRIES`] times, until another try would not change S3's answer.
    async fn ask<'a>(
        &self,
        act: Act,
        method: Method,
        name: &str,
        query: impl IntoIterator<Item = &'a (&'a str, &'a str)> + Send,
    ) -> Result<Answer, Error> {
        let mut url = self.bucket.clone();
        if !name.is_empty() {
            url.set_path(&format!("{}/{}{name}", url.path(), self.root));
        }
        url.query_pairs_mut()
            .extend_pairs(query.into_iter().copied());
        let mut wait = Duration::from_millis(100);
        let mut tries = 1;
        loop {
            let answer = self.ask_once(act, &method, &url).await;
            let again = match &answer {
                Ok(Answer::Not(status, _)) => may_pass(*status),
                Ok(Answer::Ok(_)) => false,
                Err(_) => true,
            };
            if !again || tries == TRIES {
                return answer;
            }
            tokio::time::sleep(wait).await;
            wait *= 4;
            tries += 1;
        }
    }

    async fn ask_once(&self, act: Act, method: &Method, url: &Url) -> Result<Answer, Error> {
        let unreached = Error::Trouble(act.words(), "it does not answer");
        let request = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .header("x-amz-content-sha256", EMPTY_STRING_SHA256)
            .body(())
            .map_err(|_| Error::Address)?;
        let (mut head, ()) = request.into_parts();
        let signed = self.signer.sign(&mut head, None).await;
        signed.map_err(|_| Error::BadCredentials)?;
        let request = http::Request::from_parts(head, Vec::new());
        let mut request = reqwest::Request::try_from(request).map_err(|_| Error::Address)?;
        *request.timeout_mut() = Some(REQUEST);
        let Ok(answer) = self.http.execute(request).await else {
            return Err(unreached);
        };
        let status = answer.status();
        let body = answer.text().await.map_err(|_| unreached)?;
        if status.is_success() {
            return Ok(Answer::Ok(body));
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Refusal {
            code: String,
        }
        let refusal = quick_xml::de::from_str::<Refusal>(&body).ok();
        let code = refusal.map(|refusal| refusal.code).unwrap_or_default();
        Ok(Answer::Not(status, code))
    }
}

enum Answer {
    Ok(String),
    /// Any other status, with S3's error code; empty if S3 sent none.
    Not(StatusCode, String),
}

/// Whether the same request may get another answer later.
fn may_pass(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}

fn read<T: for<'de> Deserialize<'de>>(act: Act, body: &str) -> Result<T, Error> {
    quick_xml::de::from_str(body)
        .map_err(|_| Error::Trouble(act.words(), "its answer cannot be read"))
}

fn meaning(act: Act, status: StatusCode, code: &str) -> Error {
    match code {
        "NoSuchBucket" => Error::NoBucket,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "AuthorizationHeaderMalformed" => Error::BadCredentials,
        SKEWED => Error::Clock,
        _ if status == StatusCode::FORBIDDEN => act.refused(),
        _ if status == StatusCode::NOT_FOUND => Error::NotFound,
        _ if status.is_redirection() => Error::NoBucket,
        _ => Error::Trouble(act.words(), "it answers with an error"),
    }
}
