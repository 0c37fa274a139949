//! Settings: flags of the command line, each with an environment variable of the same name in capitals.

#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "comments of arguments are the text of --help"
)]

mod addresses;
mod line_console;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

pub use addresses::listen;
use addresses::{api, endpoint, network, storage_url};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use line_console::public_url;
pub use line_console::{access_token, channel_secret};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    embedded::{Account, DataDir},
    media::Reach,
    objects::{Encryption, S3Settings},
};

/// Settings that every command accepts: storage, account, log.
#[derive(Args, Debug, Clone)]
pub struct StorageConfig {
    /// Directory of the embedded PostgreSQL and of the objects.
    #[arg(long, env = "DATA_DIR", default_value = "./data", global = true)]
    pub data_dir: PathBuf,

    /// PostgreSQL to use instead of the embedded one: postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<SecretString>,

    /// Where objects (photos, videos, files) are kept: file:///directory or s3://bucket/prefix. Default: `objects` in
    /// DATA_DIR.
    #[arg(long, env = "OBJECTS_URL", value_parser = storage_url, global = true)]
    pub objects_url: Option<Url>,

    /// Where the keyring is kept: file:///directory or s3://bucket/prefix; never the same place as the objects.
    /// Default: `keyring` in DATA_DIR.
    #[arg(long, env = "KEYRING_URL", value_parser = storage_url, global = true)]
    pub keyring_url: Option<Url>,

    /// File with the secret key: 32 bytes that encrypt the keyring and the channels' secrets. Default: `secret.key` in
    /// DATA_DIR, made if absent for a new archive on the embedded PostgreSQL.
    #[arg(long, env = "SECRET_KEY_FILE", global = true)]
    pub secret_key_file: Option<PathBuf>,

    /// Access to S3, for addresses with s3://.
    #[command(flatten)]
    pub s3: S3,

    /// Further places for copies of the ledger, in addition to the object store: file:///directory or
    /// s3://bucket/prefix, separated by commas. Best on another machine, or where nobody can delete.
    #[arg(
        long,
        env = "LEDGER_COPIES",
        value_delimiter = ',',
        value_parser = storage_url,
        global = true
    )]
    pub ledger_copies: Vec<Url>,

    /// Account that the service runs as when root starts it: a name or a user id. `root` stays root. Default: the owner
    /// of DATA_DIR; if that is root, `line-chat-archive` if there is such an account, else `nobody`.
    #[arg(long, env = "RUN_AS", global = true)]
    pub run_as: Option<String>,

    /// The account to switch to when root is not needed any more; `app::privileges` finds it from RUN_AS. `None`: keep
    /// the account of this process.
    #[arg(skip)]
    pub service: Option<Account>,

    /// Open handle of DATA_DIR, if the service's account cannot enter the directory by its path. `data_dir` is then a
    /// path through it.
    #[arg(skip)]
    pub data_dir_handle: Option<Arc<DataDir>>,

    /// Format of the log on standard error.
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,
}

/// Access to S3.
#[derive(Args, Debug, Clone)]
pub struct S3 {
    /// Access key ID.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true, global = true)]
    pub aws_access_key_id: Option<SecretString>,

    /// Secret access key.
    #[arg(
        long,
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true,
        global = true
    )]
    pub aws_secret_access_key: Option<SecretString>,

    /// Session token of a temporary access key.
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true, global = true)]
    pub aws_session_token: Option<SecretString>,

    /// Region of the bucket.
    #[arg(long, env = "AWS_REGION", global = true)]
    pub aws_region: Option<String>,

    /// Address of an S3 service that is not Amazon's, for example https://s3.example.com
    #[arg(long, env = "AWS_ENDPOINT", value_parser = endpoint, global = true)]
    pub aws_endpoint: Option<Url>,

    /// Server-side encryption in S3: none (the bucket's default), s3, or kms:<key id>.
    #[arg(long, env = "OBJECTS_SSE", default_value = "none", global = true)]
    pub objects_sse: Encryption,
}

impl S3 {
    /// These settings as [`S3Settings`]. An empty value counts as not given.
    pub fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: self.aws_endpoint.clone(),
            region: self.aws_region.clone(),
            access_key_id: trimmed_or_none(self.aws_access_key_id.as_ref()),
            secret_access_key: trimmed_or_none(self.aws_secret_access_key.as_ref()),
            session_token: trimmed_or_none(self.aws_session_token.as_ref()),
            encryption: self.objects_sse.clone(),
        }
    }
}

/// Format of a log line.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The addresses of the service, and the hosts that it connects to.
#[derive(Args, Debug, Clone)]
pub struct Serve {
    /// Address to listen on. The service has no TLS: put a proxy in front.
    #[arg(long, env = "LISTEN", value_parser = listen, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address under which people and LINE reach the service, for example https://archive.example.com. Default: derived
    /// from LISTEN. With https, cookies are for https only.
    #[arg(long, env = "PUBLIC_URL", value_parser = public_url)]
    pub public_url: Option<Url>,

    /// Proxies whose X-Forwarded-For header is trusted: addresses and networks, separated by commas. The rate limit
    /// against guessing passwords is per client network.
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network,
        default_value = "127.0.0.1,::1"
    )]
    pub trusted_proxies: Vec<IpNet>,

    /// LINE's API host.
    #[arg(
        long,
        env = "LINE_API_URL",
        value_parser = api,
        default_value = "https://api.line.me"
    )]
    pub line_api_url: Url,

    /// LINE's host for content and previews.
    #[arg(
        long,
        env = "LINE_DATA_API_URL",
        value_parser = api,
        default_value = "https://api-data.line.me"
    )]
    pub line_data_api_url: Url,

    /// Content to fetch from outside of LINE's API hosts. Pictures of people come from LINE's own hosts; files that a
    /// sender's app has stored elsewhere come from any public https address.
    #[arg(long, env = "EXTERNAL_CONTENT", value_enum, default_value = "on")]
    pub external_content: ExternalContent,

    /// Whether pages show pictures of stickers. Browsers fetch them from LINE's host for stickers, which learns when an
    /// operator looks at which sticker. LINE does not promise that the pictures are there.
    #[arg(long, env = "STICKER_CDN", value_enum, default_value = "off")]
    pub sticker_cdn: Switch,

    /// Secret and access token of a first channel.
    #[command(flatten)]
    pub channel: Credentials,
}

/// A setting that is on or off.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Enabled.
    On,
    /// Disabled.
    Off,
}

/// Which content outside of LINE's API hosts is fetched.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalContent {
    /// Pictures of people, and files that senders' apps have stored elsewhere.
    On,
    /// Pictures of people only.
    Line,
    /// Neither: only LINE's API is used.
    Off,
}

impl From<ExternalContent> for Reach {
    fn from(content: ExternalContent) -> Self {
        match content {
            ExternalContent::On => Self::Guarded,
            ExternalContent::Line => Self::Line,
            ExternalContent::Off => Self::Nowhere,
        }
    }
}

/// Secret and access token of a channel, from LINE's console.
#[derive(Args, Debug, Clone)]
pub struct Credentials {
    /// Channel secret, from the channel's Basic settings tab. `serve` makes the channel `default` from it if there is
    /// no channel yet.
    #[arg(long, env = "LINE_CHANNEL_SECRET", hide_env_values = true)]
    pub line_channel_secret: Option<SecretString>,

    /// Channel access token, from the channel's Messaging API tab. Until there is one, media and profiles are not
    /// fetched.
    #[arg(long, env = "LINE_CHANNEL_ACCESS_TOKEN", hide_env_values = true)]
    pub line_channel_access_token: Option<SecretString>,
}

impl Credentials {
    /// The channel secret, if one is given. An empty one counts as not given: anybody could sign with it.
    ///
    /// # Errors
    /// It does not have the form of a channel secret: see [`channel_secret`].
    pub fn secret(&self) -> anyhow::Result<Option<SecretString>> {
        let secret = trimmed_or_none(self.line_channel_secret.as_ref());
        secret.map(channel_secret).transpose()
    }

    /// The channel access token, if one is given.
    ///
    /// # Errors
    /// It does not have the form of an access token: see [`access_token`].
    pub fn token(&self) -> anyhow::Result<Option<SecretString>> {
        let token = trimmed_or_none(self.line_channel_access_token.as_ref());
        token.map(access_token).transpose()
    }
}

/// The value without white space at its ends, such as the line break of a file; `None` if nothing is left.
fn trimmed_or_none(value: Option<&SecretString>) -> Option<SecretString> {
    let trimmed = value?.expose_secret().trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> anyhow::Result<Option<SecretString>> {
        let credentials = Credentials {
            line_channel_secret: Some(text.to_owned().into()),
            line_channel_access_token: None,
        };
        credentials.secret()
    }

    #[test]
    fn an_empty_secret_counts_as_missing() {
        assert!(secret("").expect("nothing").is_none());
        assert!(secret(" \n").expect("nothing").is_none());
    }

    #[test]
    fn a_line_break_after_a_secret_is_removed() {
        let read = secret("0123456789abcdef0123456789abcdef\n").expect("a secret");
        let read = read.expect("a secret");
        assert_eq!(read.expose_secret(), "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn a_malformed_secret_is_explained_without_showing_it() {
        for (malformed, explanation) in [
            ("\"0123456789abcdef0123456789abcdef\"", "quotes"),
            ("1234567890", "channel ID"),
            (&"x".repeat(172), "access token"),
            ("0123456789abcdef", "another length"),
            ("0123456789abcdeg0123456789abcdef", "other characters"),
        ] {
            let message = secret(malformed).expect_err(malformed).to_string();
            assert!(
                message.contains(explanation) && message.contains("Basic settings"),
                "{message}"
            );
            assert!(
                !message.contains(malformed),
                "the error must not contain the secret"
            );
        }
    }
}
