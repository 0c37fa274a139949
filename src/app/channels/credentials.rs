//! The secret and the token that a person gives for a channel: in the environment, at a prompt, or on standard input.

use anyhow::{Context, ensure};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    app::ask,
    config::{Credentials, access_token, channel_secret},
};

/// How to give secrets; part of error messages.
const HOW: &str = "set LINE_CHANNEL_SECRET and LINE_CHANNEL_ACCESS_TOKEN, or write them to standard input, the secret as the \
                   first line and the token as the second";

/// Secret and token of a new channel. If the secret is in the environment and there is no terminal, standard input is
/// not read: it may be meant for another program, for example in a loop of a script.
pub(super) fn for_new(given: &Credentials) -> anyhow::Result<(SecretString, Option<SecretString>)> {
    let (secret, token) = (given.secret()?, given.token()?);
    let asks = secret.is_none() || ask::at_terminal();
    let secret = match secret {
        Some(secret) => secret,
        None => {
            let typed = filled(ask::secret("Channel secret: ")?);
            channel_secret(typed.with_context(no_secret_message)?)?
        }
    };
    let token = match token {
        None if asks => filled(ask::secret("Channel access token (empty: add it later): ")?),
        token => token,
    };
    Ok((secret, token.map(access_token).transpose()?))
}

/// A channel's new secret and token: from the environment, else from the terminal or standard input.
pub(super) fn for_rotation(
    given: &Credentials,
) -> anyhow::Result<(Option<SecretString>, Option<SecretString>)> {
    let (secret, token) = (given.secret()?, given.token()?);
    if secret.is_some() || token.is_some() {
        return Ok((secret, token));
    }
    let secret = ask::secret("New channel secret (empty: keep the present ones): ")?;
    let secret = filled(secret).map(channel_secret).transpose()?;
    let token = ask::secret("New channel access token (empty: keep the present one): ")?;
    let token = filled(token).map(access_token).transpose()?;
    ensure!(
        secret.is_some() || token.is_some(),
        "{}. An empty line keeps what there is",
        neither_message()
    );
    Ok((secret, token))
}

/// Error message for a new channel without a secret.
fn no_secret_message() -> String {
    match ask::at_terminal() {
        true => {
            "nothing was typed, and nothing was changed. Paste the channel secret at the prompt: it is in the LINE Developers \
             Console, tab Basic settings"
                .to_owned()
        }
        false => format!("no channel secret was given: {HOW}"),
    }
}

/// Error message for a rotation without a secret and without a token.
fn neither_message() -> String {
    match ask::at_terminal() {
        true => {
            "nothing was typed, and nothing was changed. Paste the new secret (LINE Developers Console, tab Basic settings) or \
             the new token (tab Messaging API) at its prompt"
                .to_owned()
        }
        false => format!("neither was given, and nothing was changed: {HOW}"),
    }
}

fn filled(secret: SecretString) -> Option<SecretString> {
    Some(secret).filter(|secret| !secret.expose_secret().is_empty())
}
