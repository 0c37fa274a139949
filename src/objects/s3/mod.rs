//! Keeps objects in S3, or in a service that is compatible with it. Each key is written once, but the bucket may still
//! keep versions of it, and parts of unfinished uploads: a purge deletes them all.

mod act;
mod marked;
mod requests;
mod writer;

use std::{fmt, ops::Range, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryFutureExt, TryStreamExt, stream};
use opendal::{
    HttpTransporter, Lister, OperationContext, Operator,
    layers::{RetryEvent, RetryLayer, TimeoutLayer},
};
use opendal_http_transport_reqwest::ReqwestTransport;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Body, Encryption, Error, Keys, ObjectKey, S3Settings, Shard};
use act::Act;
pub(super) use marked::MarkedS3;
use requests::Requests;
pub(super) use writer::Writer;

/// Part size of an upload in bytes, the smallest that S3 allows. A writer holds up to two parts in memory.
const PART: usize = 5 * 1024 * 1024;
/// Bytes that a reader requests at a time. A reader gets at most this much more of an object after its purge.
const STEP: usize = 2 * 1024 * 1024;
/// Largest piece of a [`Body`], in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Timeouts of a request, and of one that carries bytes. With [`TRIES`], all requests of one write take less than its
/// writer's lease.
const REQUEST: Duration = Duration::from_secs(10);
const TRANSFER: Duration = Duration::from_secs(15);
/// Maximum number of tries of a request, the first one included.
const TRIES: usize = 3;
const CONNECT: Duration = Duration::from_secs(5);
/// How often a purge lists and deletes before it gives up. Without concurrent writes, the second listing is empty.
const LOOKS: usize = 5;

/// A prefix of a bucket.
pub(super) struct S3 {
    files: Operator,
    requests: Requests,
    /// For [`fmt::Debug`], instead of the other two fields: they contain credentials, which must not be shown.
    url: Url,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3").field(&self.url.as_str()).finish()
    }
}

/// The parts of an S3 address and its settings, with their forms checked.
struct CheckedSettings<'a> {
    bucket: &'a str,
    prefix: &'a str,
    id: &'a str,
    secret: &'a str,
    token: &'a str,
    endpoint: Url,
    region: String,
}

impl<'a> CheckedSettings<'a> {
    fn read(url: &'a Url, settings: &'a S3Settings) -> Result<Self, Error> {
        let bucket = url.host_str().filter(|bucket| !bucket.is_empty());
        let bucket = bucket.ok_or(Error::Address)?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        // A prefix of plain characters is the same in the URL, in a request and in its signature.
        let prefix = url.path().trim_matches('/');
        let safe = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if !plain || !prefix.chars().all(safe) || prefix.contains("//") {
            return Err(Error::Address);
        }
        let needed = "s3:// needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        let id = shown(settings.access_key_id.as_ref()).ok_or(Error::Access(needed))?;
        let secret = shown(settings.secret_access_key.as_ref()).ok_or(Error::Access(needed))?;
        let token = shown(settings.session_token.as_ref()).unwrap_or_default();
        let (endpoint, region) = endpoint(settings)?;
        Ok(Self {
            bucket,
            prefix,
            id,
            secret,
            token,
            endpoint,
            region,
        })
    }
}

impl S3 {
    /// Checks the forms of the URL and of the settings. Has no side effects and uses no network.
    pub(super) fn check_form(url: &Url, settings: &S3Settings) -> Result<(), Error> {
        CheckedSettings::read(url, settings).map(drop)
    }

    pub(super) fn open(url: &Url, settings: &S3Settings) -> Result<Self, Error> {
        let CheckedSettings {
            bucket,
            prefix,
            id,
            secret,
            token,
            endpoint,
            region,
        } = CheckedSettings::read(url, settings)?;
        let builder = opendal::services::S3::default()
            .bucket(bucket)
            .root(prefix)
            .endpoint(endpoint.as_str())
            .region(&region)
            .access_key_id(id)
            .secret_access_key(secret)
            .session_token(token)
            .disable_config_load()
            .disable_ec2_metadata();
        let builder = match &settings.encryption {
            Encryption::Bucket => builder,
            Encryption::S3 => builder.server_side_encryption_with_s3_key(),
            Encryption::Kms(key) => {
                builder.server_side_encryption_with_customer_managed_kms_key(key)
            }
        };
        // Fails if a provider is installed already, which is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| Error::Access("no HTTPS client could be made"))?;
        let transport = HttpTransporter::new(ReqwestTransport::new(http.clone()));
        let files = Operator::new(builder)
            .map_err(|_| Error::Address)?
            .with_context(OperationContext::new().with_http_transport(transport))
            .layer(
                TimeoutLayer::new()
                    .with_timeout(REQUEST)
                    .with_io_timeout(TRANSFER),
            )
            .layer(
                RetryLayer::new()
                    .with_jitter()
                    .with_min_delay(Duration::from_millis(100))
                    .with_max_times(TRIES - 1)
                    .with_notify(log_retry),
            );
        let root = match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self {
            files,
            requests: Requests::new(http, endpoint, bucket, root, &region, [id, secret, token]),
            url: url.clone(),
        })
    }

    pub(super) async fn put(&self, key: ObjectKey) -> Result<Writer, Error> {
        Writer::begin(self.files.clone(), key.to_string()).await
    }

    pub(super) async fn get(
        &self,
        key: ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<(u64, Body), Error> {
        let name = key.to_string();
        let failed = |error| Act::Read.failed(&error);
        let size = self.size(&name).await?;
        let range = range.unwrap_or(0..size);
        let end = range.end.min(size);
        if range.start >= end {
            return Ok((size, Box::pin(stream::empty())));
        }
        let reader = self.files.reader_with(&name).chunk(STEP).await;
        let bytes = reader.map_err(failed)?.into_bytes_stream(range.start..end);
        let bytes = bytes.await.map_err(failed)?;
        let pieces = bytes
            .map_err(
                |error| match error.get_ref().and_then(|e| e.downcast_ref()) {
                    Some(error) => Act::Read.failed(error),
                    None => Error::Io(error),
                },
            )
            .map_ok(|bytes| stream::iter(cut(bytes)))
            .try_flatten();
        Ok((size, Box::pin(pieces)))
    }

    /// Size of a finished object in bytes.
    async fn size(&self, name: &str) -> Result<u64, Error> {
        let found = self.files.stat(name).await;
        let found = found.map_err(|error| Act::Read.failed(&error))?;
        Ok(found.content_length())
    }

    pub(super) async fn has(&self, key: ObjectKey) -> Result<bool, Error> {
        match self.size(&key.to_string()).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists and deletes until a listing is empty. Lists uploads before versions: an upload that completes between the
    /// two listings appears as a version in the second one.
    pub(super) async fn purge(&self, key: ObjectKey) -> Result<(), Error> {
        self.purge_named(&key.to_string()).await
    }

    pub(super) async fn write_named(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let written = self.files.write(name, bytes).await;
        written.map_err(|error| Act::Write.failed(&error))?;
        Ok(())
    }

    pub(super) async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.files.read(name).await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(error) => match Act::Read.failed(&error) {
                Error::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    pub(super) async fn purge_named(&self, name: &str) -> Result<(), Error> {
        for _ in 0..LOOKS {
            let uploads: Vec<_> = self.requests.uploads(name.to_owned()).try_collect().await?;
            let versions: Vec<_> = self.versions(name.to_owned()).try_collect().await?;
            // The listings match a prefix, not a whole name.
            let uploads = uploads.iter().filter(|upload| upload.name == name);
            let versions = versions.iter().filter(|version| version.name == name);
            let mut found = false;
            for upload in uploads {
                found = true;
                self.requests.abort(upload).await?;
            }
            for version in versions {
                found = true;
                let delete = self.files.delete_with(name);
                let deleted = match &version.id {
                    Some(id) => delete.version(id).await,
                    None => delete.await,
                };
                deleted.map_err(|error| Act::Delete.failed(&error))?;
            }
            if !found {
                return Ok(());
            }
        }
        Err(Error::Remains)
    }

    pub(super) fn list(&self, shard: Shard) -> Keys {
        let files = self.files.clone();
        let lister = async move { files.lister_with(shard.prefix()).recursive(true).await };
        Box::pin(
            names(lister, Act::List).try_filter_map(async |(name, _)| Ok(ObjectKey::parse(&name))),
        )
    }

    pub(super) fn traces(&self, shard: Shard) -> Keys {
        let uploads = self.requests.uploads(shard.prefix().to_owned());
        let uploads = uploads.map_ok(|upload| upload.name);
        let versions = self.versions(shard.prefix().to_owned());
        let versions = versions.map_ok(|version| version.name);
        let names = uploads.chain(versions);
        Box::pin(names.try_filter_map(async |name| Ok(ObjectKey::parse(&name))))
    }

    /// Versions and delete markers whose names begin with `prefix`.
    fn versions(
        &self,
        prefix: String,
    ) -> impl stream::Stream<Item = Result<Version, Error>> + Send + use<> {
        let files = self.files.clone();
        let lister = async move {
            let lister = files.lister_with(&prefix).recursive(true);
            lister.versions(true).deleted(true).await
        };
        names(lister, Act::ListVersions).map_ok(|(name, id)| Version { name, id })
    }

    /// Checks the conditions that only S3 has. Leaves an upload of `key`, which a purge has to abort.
    pub(super) async fn check(&self, key: ObjectKey) -> Result<(), Error> {
        if self.requests.locks_everything().await? {
            return Err(Error::Locked);
        }
        self.requests.begin_upload(&key.to_string()).await
    }
}

/// One version of an object, or a delete marker.
struct Version {
    name: String,
    id: Option<String>,
}

/// Names and version ids of the entries of a lister.
fn names(
    lister: impl Future<Output = opendal::Result<Lister>> + Send + 'static,
    act: Act,
) -> impl stream::Stream<Item = Result<(String, Option<String>), Error>> + Send {
    lister
        .try_flatten_stream()
        .map_err(move |error| act.failed(&error))
        .map_ok(|entry| {
            let version = entry.metadata().version().map(str::to_owned);
            (entry.path().to_owned(), version)
        })
}

/// URL and region of the service.
fn endpoint(settings: &S3Settings) -> Result<(Url, String), Error> {
    let region = settings.region.as_deref().map(str::trim);
    let region = region.filter(|region| !region.is_empty());
    match (&settings.endpoint, region) {
        (Some(endpoint), _) if !matches!(endpoint.scheme(), "http" | "https") => {
            Err(Error::Access("AWS_ENDPOINT is not a URL like https://host"))
        }
        (Some(endpoint), region) => {
            Ok((endpoint.clone(), region.unwrap_or("us-east-1").to_owned()))
        }
        (None, None) => Err(Error::Access(
            "s3:// needs AWS_REGION, or AWS_ENDPOINT where it is not Amazon's",
        )),
        (None, Some(region)) => {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            let endpoint = format!("https://s3.{region}.amazonaws.com{china}");
            let endpoint = Url::parse(&endpoint)
                .map_err(|_| Error::Access("AWS_REGION is not a valid region"))?;
            Ok((endpoint, region.to_owned()))
        }
    }
}

fn shown(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret)
}

/// Splits `bytes` into pieces of at most [`CHUNK_BYTES`].
fn cut(mut bytes: Bytes) -> impl Iterator<Item = Result<Bytes, Error>> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| Ok(bytes.split_to(bytes.len().min(CHUNK_BYTES))))
    })
}

/// Logs a retry with the kind of its error: the error's own text contains S3's response.
fn log_retry(event: RetryEvent<'_>) {
    tracing::debug!(operation = %event.op, reason = %event.err.kind(), attempt = event.attempt, "retrying an S3 request");
}
