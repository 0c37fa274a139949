//! The S3 requests of the tests themselves, independent of the code under test.

use anyhow::{Result, anyhow};
use http::Request;
use reqsign_aws_v4::{Credential, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};

use crate::seaweed::{KEY, SECRET, Server};

pub(crate) struct Client {
    endpoint: String,
    http: reqwest::Client,
    signer: Signer<Credential>,
}

impl Client {
    pub(crate) fn new(endpoint: &str, key: &str, secret: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = StaticCredentialProvider::new(key, secret);
        Self {
            endpoint: endpoint.to_owned(),
            http: reqwest::Client::builder().build().unwrap(),
            signer: Signer::new(Context::new(), key, RequestSigner::new("s3", "us-east-1")),
        }
    }

    pub(crate) async fn admin() -> Self {
        Self::new(&Server::shared().await.endpoint, KEY, SECRET)
    }

    /// Sends a signed request; returns the status and the body of the answer.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Result<(u16, String)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint))
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(())?.into_parts();
        let signed = self.signer.sign(&mut head, None).await;
        signed.map_err(|error| anyhow!("{error}"))?;
        let request = Request::from_parts(head, body.into());
        let answer = self.http.execute(request.try_into()?).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Sends a signed request, which has to succeed; returns the body of the answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> String {
        let (status, answer) = self.try_send(method, path, &[], body).await.unwrap();
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// Creates a bucket, versioned or not.
    pub(crate) async fn bucket(&self, name: &str, versioned: bool) {
        self.send("PUT", &format!("/{name}"), "").await;
        if versioned {
            let status = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                          <Status>Enabled</Status></VersioningConfiguration>";
            self.send("PUT", &format!("/{name}?versioning="), status)
                .await;
        }
    }

    /// Everything below `prefix`, as `kind name`: versions, delete markers, uploads.
    pub(crate) async fn held(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let prefix = prefix.replace('/', "%2F");
        let mut held = Vec::new();
        for (query, kinds) in [
            ("versions", &["Version", "DeleteMarker"][..]),
            ("uploads", &["Upload"][..]),
        ] {
            let path = format!("/{bucket}?{query}=&prefix={prefix}");
            let answer = self.send("GET", &path, "").await;
            assert!(
                !answer.contains("<IsTruncated>true"),
                "too many for one answer"
            );
            for kind in kinds {
                for entry in answer.split(&format!("<{kind}>")).skip(1) {
                    held.push(format!("{kind} {}", between(entry, "<Key>", "</Key>")));
                }
            }
        }
        held
    }
}

pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap();
    rest.split_once(to).unwrap().0
}
