//! Checks the form of the settings of `serve` before anything is made.

use anyhow::Context;
use secrecy::ExposeSecret;

use super::{database_url, keys, privileges, stores::shown};
use crate::{
    config::{Serve, StorageConfig},
    embedded::Embedded,
    line::client::LineApi,
    objects::Objects,
};

/// Checks that each setting has a form that can be used. Settings that clap has parsed already (addresses,
/// `PUBLIC_URL`, networks) are not checked again. Has no side effects and uses no network.
///
/// # Errors
/// One of them cannot be used, or `RUN_AS` is not an account of this machine.
pub fn check_form(storage: &StorageConfig, serve: &Serve) -> anyhow::Result<()> {
    serve.channel.secret().context("LINE_CHANNEL_SECRET")?;
    serve.channel.token().context("LINE_CHANNEL_ACCESS_TOKEN")?;
    LineApi::new(serve.line_api_url.clone(), serve.line_data_api_url.clone())
        .context("LINE_API_URL and LINE_DATA_API_URL")?;
    match &storage.database_url {
        Some(url) => drop(database_url::parse(url.expose_secret())?),
        // An existing database works under its path already, however DATA_DIR is called.
        None if Embedded::exists(&storage.data_dir) => {}
        None => Embedded::check_path(&std::path::absolute(&storage.data_dir)?)?,
    }
    let s3 = storage.s3.settings();
    if let Some(url) = &storage.objects_url {
        Objects::check_form(url, &s3).context("OBJECTS_URL")?;
    }
    for url in &storage.ledger_copies {
        Objects::check_form(url, &s3).with_context(|| format!("LEDGER_COPIES, {}", shown(url)))?;
    }
    keys::check_form(storage)?;
    privileges::account(storage).map(drop)
}
