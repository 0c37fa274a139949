//! The bucket of the tests: its own prefix in a bucket of a real S3 server, usually a versioned one.

use line_chat_archive::{
    marked::Marking,
    objects::{Objects, S3Settings},
};
use tokio::sync::OnceCell;
use url::Url;

use crate::{
    client::Client,
    proxy::Proxy,
    seaweed::{KEY, SECRET, Server},
};

pub(crate) const VERSIONED: &str = "versioned";
pub(crate) const PLAIN: &str = "plain";

pub(crate) struct Bucket {
    pub(crate) objects: Objects,
    pub(crate) proxy: Proxy,
    pub(crate) name: &'static str,
    pub(crate) prefix: String,
}

impl Bucket {
    pub(crate) async fn new() -> Self {
        Self::within(VERSIONED).await
    }

    /// A new prefix in the bucket `name`.
    pub(crate) async fn within(name: &'static str) -> Self {
        static MADE: OnceCell<()> = OnceCell::const_new();
        let server = Server::shared().await;
        MADE.get_or_init(async || {
            let client = Client::admin().await;
            client.bucket(VERSIONED, true).await;
            client.bucket(PLAIN, false).await;
        })
        .await;
        let proxy = Proxy::start(&server.endpoint).await;
        let prefix = uuid::Uuid::new_v4().simple().to_string();
        let url = Url::parse(&format!("s3://{name}/{prefix}")).unwrap();
        let objects = Objects::open_with(&url, &access(&proxy), Marking::Unmarked)
            .await
            .unwrap();
        Self {
            objects,
            proxy,
            name,
            prefix,
        }
    }

    /// The bucket's URL and endpoint, for [`opened`] in another process.
    pub(crate) fn words(&self) -> String {
        format!("s3://{}/{} {}", self.name, self.prefix, self.proxy.url)
    }

    /// Everything below the prefix, as `kind key`: versions, delete markers, uploads.
    pub(crate) async fn held(&self) -> Vec<String> {
        let below = format!("{}/", self.prefix);
        let held = Client::admin().await.held(self.name, &below).await;
        held.iter().map(|entry| entry.replace(&below, "")).collect()
    }

    pub(crate) async fn files(&self) -> usize {
        self.held().await.len()
    }

    /// The number of bytes in unfinished uploads. Bytes that do not fill a part yet stay in memory until the upload is finished.
    pub(crate) fn half_written(&self) -> u64 {
        self.objects.under_way()
    }

    /// Breaks the bucket: every later operation fails.
    pub(crate) fn breaks(&self) {
        self.proxy.answers("HTTP/1.1", 503, usize::MAX);
    }

    pub(crate) fn heals(&self) {
        self.proxy.heals();
    }
}

/// Opens the same bucket in another process.
pub(crate) async fn opened(words: &str) -> Objects {
    let (url, endpoint) = words.split_once(' ').unwrap();
    let url = Url::parse(url).unwrap();
    Objects::open_with(&url, &access_by(endpoint), Marking::Unmarked)
        .await
        .unwrap()
}

pub(crate) fn access(proxy: &Proxy) -> S3Settings {
    access_by(&proxy.url)
}

fn access_by(endpoint: &str) -> S3Settings {
    S3Settings {
        endpoint: Some(Url::parse(endpoint).unwrap()),
        access_key_id: Some(KEY.to_owned().into()),
        secret_access_key: Some(SECRET.to_owned().into()),
        ..S3Settings::default()
    }
}
