//! Settings for the access to S3.

use std::str::FromStr;

use secrecy::SecretString;
use url::Url;

/// Settings for the access to S3. A directory needs none of them.
#[derive(Clone, Debug, Default)]
pub struct S3Settings {
    /// URL of the S3 service; `None`: Amazon's, in `region`.
    pub endpoint: Option<Url>,
    /// Region; required for Amazon's service. `None` for another one: `us-east-1`.
    pub region: Option<String>,
    /// Id of the access key; required for S3.
    pub access_key_id: Option<SecretString>,
    /// Secret of the access key; required for S3.
    pub secret_access_key: Option<SecretString>,
    /// Session token of temporary credentials; `None` for permanent ones.
    pub session_token: Option<SecretString>,
    /// Encryption at rest on the S3 side.
    pub encryption: Encryption,
}

/// How S3 encrypts objects at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As configured in the bucket.
    #[default]
    Bucket,
    /// With keys that S3 manages (SSE-S3).
    S3,
    /// With the key of this id in the key management service (SSE-KMS).
    Kms(String),
}

impl FromStr for Encryption {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::Bucket),
            None if text == "s3" => Ok(Self::S3),
            Some(("kms", key)) if !key.is_empty() => Ok(Self::Kms(key.to_owned())),
            _ => Err("none, s3, or kms:<key id>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_read_from_its_words() {
        assert_eq!("none".parse(), Ok(Encryption::Bucket));
        assert_eq!("s3".parse(), Ok(Encryption::S3));
        let key = "arn:aws:kms:eu-west-1:1:key/a";
        assert_eq!(
            format!("kms:{key}").parse(),
            Ok(Encryption::Kms(key.into()))
        );
        for wrong in ["", "kms", "kms:", "S3", "aes"] {
            assert!(wrong.parse::<Encryption>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let settings = S3Settings {
            access_key_id: Some("AKID".to_owned().into()),
            secret_access_key: Some("hush".to_owned().into()),
            session_token: Some("token".to_owned().into()),
            ..S3Settings::default()
        };
        let shown = format!("{settings:?}");
        assert!(
            ["AKID", "hush", "token"]
                .iter()
                .all(|secret| !shown.contains(&format!("\"{secret}\"")))
        );
    }
}
