//! The form of the settings of `serve`, looked at before anything is made.

use anyhow::Context;
use secrecy::ExposeSecret;

use super::{database_url, keys, privileges, serve::shown};
use crate::{
    config::{Places, Serve},
    embedded::Embedded,
    line::client::LineApi,
    objects::Objects,
};

/// Looks whether each setting has a form that can be used. What clap has read already (addresses, `PUBLIC_URL`, networks) is
/// not looked at again. Has no side effects and uses no network.
///
/// # Errors
/// One of them cannot be used, or `RUN_AS` is no account of this machine.
pub fn check_form(places: &Places, serve: &Serve) -> anyhow::Result<()> {
    serve.channel.secret().context("LINE_CHANNEL_SECRET")?;
    serve.channel.token().context("LINE_CHANNEL_ACCESS_TOKEN")?;
    LineApi::new(serve.line_api_url.clone(), serve.line_data_api_url.clone())
        .context("LINE_API_URL and LINE_DATA_API_URL")?;
    match &places.database_url {
        Some(url) => drop(database_url::parse(url.expose_secret())?),
        // One that is there already found its way around an odd name.
        None if Embedded::exists(&places.data_dir) => {}
        None => Embedded::check_path(&std::path::absolute(&places.data_dir)?)?,
    }
    let access = places.s3.access();
    if let Some(url) = &places.objects_url {
        Objects::check_form(url, &access).context("OBJECTS_URL")?;
    }
    for url in &places.ledger_copies {
        Objects::check_form(url, &access)
            .with_context(|| format!("LEDGER_COPIES, {}", shown(url)))?;
    }
    keys::check_form(places)?;
    privileges::account(places).map(drop)
}
