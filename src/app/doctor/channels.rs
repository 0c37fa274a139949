//! Checks of a channel: LINE accepts its access token and sends its webhooks to this service.

use sqlx::PgConnection;
use url::Url;

use super::{Finding, Level};
use crate::{
    config::Serve,
    line::client::{Answer, Break, LineApi, Trouble, WebhookEndpoint},
    records::channels::{self, Channel},
    seal::Keyring,
};

pub(super) async fn check(
    db: &mut PgConnection,
    keyring: &Keyring,
    channel: &Channel,
    line: &LineApi,
    serve: &Serve,
) -> sqlx::Result<Vec<Finding>> {
    let slug = &channel.slug;
    let mut findings = vec![secrets(channel)];
    match channels::token(db, keyring, channel.id).await {
        Err(sqlx::Error::Decode(_)) => findings.push(Finding::new(
            Level::Bad,
            format!("{slug}: its access token cannot be opened"),
            "it is sealed under another secret key: check SECRET_KEY_FILE",
        )),
        Err(error) => return Err(error),
        Ok(None) => findings.push(Finding::new(
            Level::Bad,
            format!("{slug}: no access token"),
            format!("media and profiles wait; channel rotate-secret {slug} takes one"),
        )),
        Ok(Some(token)) => {
            findings.push(accepted(slug, line.bot_info(&token).await));
            match webhooks(slug, serve, line.webhook_endpoint(&token).await) {
                Some(finding) => findings.push(finding),
                None => return Ok(findings),
            }
        }
    }
    findings.push(last_webhook(channel));
    Ok(findings)
}

fn secrets(channel: &Channel) -> Finding {
    let slug = &channel.slug;
    match channel.secrets {
        0 => Finding::new(
            Level::Bad,
            format!("{slug}: no channel secret"),
            format!("its webhooks are refused; line-chat-archive channel rotate-secret {slug}"),
        ),
        1 => Finding::ok(format!("{slug}: has a channel secret")),
        n => Finding::new(
            Level::Warning,
            format!("{slug}: {n} channel secrets are valid"),
            format!("when the change is done: channel rotate-secret {slug} --finish"),
        ),
    }
}

/// Whether LINE sends the channel's webhooks to this service; `None` if LINE refuses the access token, which
/// [`accepted`] reports.
fn webhooks(slug: &str, serve: &Serve, answer: Answer<WebhookEndpoint>) -> Option<Finding> {
    let expected = webhook_url(serve, slug);
    Some(match answer {
        Answer::Got(webhook) if !webhook.active => Finding::new(
            Level::Bad,
            format!("{slug}: LINE sends no webhooks"),
            "turn on Use webhook in LINE's console, tab Messaging API",
        ),
        Answer::Got(webhook) if is_same(&webhook.endpoint, &expected) => {
            Finding::ok(format!("{slug}: LINE sends webhooks here"))
        }
        // Another finding warns already that PUBLIC_URL is not set.
        Answer::Got(_) if serve.public_url.is_none() => Finding::ok(format!(
            "{slug}: LINE sends webhooks; whether here was not compared"
        )),
        Answer::Got(_) => Finding::new(
            Level::Bad,
            format!("{slug}: LINE sends webhooks elsewhere"),
            format!("its Webhook URL in LINE's console has to be {expected}"),
        ),
        Answer::NotFound => Finding::new(
            Level::Bad,
            format!("{slug}: LINE knows no Webhook URL"),
            format!("set it in LINE's console, tab Messaging API: PUBLIC_URL and /webhook/{slug}"),
        ),
        Answer::Refused(401) => return None,
        other => unanswered(
            format!("{slug}: LINE did not report the webhook URL"),
            &other,
        ),
    })
}

fn last_webhook(channel: &Channel) -> Finding {
    let slug = &channel.slug;
    match channel.last_webhook_at {
        Some(at) => Finding::ok(format!(
            "{slug}: last webhook at {}",
            at.format("%F %T UTC")
        )),
        None => Finding::new(
            Level::Warning,
            format!("{slug}: no webhook has come yet"),
            "press Verify beside the Webhook URL, and write to the account",
        ),
    }
}

fn accepted(slug: &str, answer: Answer<()>) -> Finding {
    match answer {
        Answer::Got(()) => Finding::ok(format!("{slug}: LINE takes the access token")),
        Answer::Refused(status) => Finding::new(
            Level::Bad,
            format!("{slug}: LINE refuses the access token ({status})"),
            format!("issue one in LINE's console, and give it with channel rotate-secret {slug}"),
        ),
        other => unanswered(
            format!("{slug}: LINE could not be asked whether the access token is valid"),
            &other,
        ),
    }
}

fn unanswered<T>(what: String, answer: &Answer<T>) -> Finding {
    Finding::new(Level::Warning, what, why(answer))
}

/// Why LINE did not give the expected answer, and what to check.
fn why<T>(answer: &Answer<T>) -> String {
    let words = match answer {
        Answer::Trouble(Trouble::Timeout) => {
            "nothing came in time: does a firewall let this machine out to port 443?"
        }
        Answer::Trouble(Trouble::Connection(broken)) => match broken {
            Break::Name => "the name of LINE's host is not found: check this machine's DNS",
            Break::Refused => "the connection is refused: check firewall and proxy",
            Break::Unreachable => "this machine has no route there: check its network",
            Break::Tls => {
                "TLS fails: the certificate is not trusted (check the root certificates, the clock, and proxies that open \
                 TLS), or what answers does not speak it"
            }
            Break::Other => "the connection broke off: look again later",
        },
        Answer::Trouble(Trouble::Unreadable) => {
            "what answers is not LINE: check LINE_API_URL, and proxies in between"
        }
        Answer::TooMany(_) => "LINE wants fewer requests (429): look again later",
        Answer::Trouble(Trouble::Status(status)) | Answer::Never(status) => {
            return format!("LINE answers with {status}: look again later");
        }
        _ => "LINE's answer is not what this request is answered with: look again later",
    };
    words.to_owned()
}

/// Whether two addresses reach the same handler. The case of scheme and host, the default port, the query and the
/// fragment do not count.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    bare(one).is_some_and(|one| Some(one) == bare(other))
}

fn webhook_url(serve: &Serve, slug: &str) -> String {
    let base = match &serve.public_url {
        Some(url) => url.to_string(),
        None => format!("http://{}", serve.listen),
    };
    format!("{}/webhook/{slug}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_as_addresses() {
        let ours = "https://archive.example.com/webhook/shop";
        for same in [
            ours,
            "https://archive.example.com:443/webhook/shop",
            "HTTPS://Archive.Example.COM/webhook/shop",
            "https://archive.example.com/webhook/shop?from=line",
        ] {
            assert!(is_same(same, ours), "{same}");
        }
        for other in [
            "https://archive.example.com:8443/webhook/shop",
            "http://archive.example.com/webhook/shop",
            "https://archive.example.com/webhook/Shop",
            "https://archive.example.com/webhook/shop/",
            "archive.example.com/webhook/shop",
            "",
        ] {
            assert!(!is_same(other, ours), "{other}");
        }
    }
}
