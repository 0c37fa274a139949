//! `channel list`.

use chrono::{DateTime, Utc};

use crate::{
    app::{
        database::{self, Purpose},
        table::table,
    },
    config::StorageConfig,
    media::LARGEST_MIB,
    records::channels::{self, Channel},
};

const HEADER: [&str; 8] = [
    "slug",
    "state",
    "secrets",
    "access token",
    "files up to",
    "messages are kept",
    "last webhook",
    "name",
];

/// Lists the channels; removed ones come last.
///
/// # Errors
/// The database cannot be used.
pub async fn list(storage: &StorageConfig, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    database::with(storage, Purpose::Change, async |database| {
        let channels = channels::list_all(&mut database.connect().await?).await?;
        if channels.is_empty() {
            say("There is no channel: `channel add <slug>` adds one.");
            return Ok(());
        }
        let rows: Vec<_> = channels.iter().map(row).collect();
        for line in table(HEADER, &rows) {
            say(&line);
        }
        Ok(())
    })
    .await
}

fn row(channel: &Channel) -> [String; 8] {
    let (state, is_removed) = match channel.removed_at {
        Some(at) => (format!("removed {}", format_to_minute(at)), true),
        None => ("active".to_owned(), false),
    };
    let unless_removed = |words: String| if is_removed { "-".to_owned() } else { words };
    let token = match (channel.has_token, channel.token_refused_at) {
        (false, _) => "none".to_owned(),
        (true, Some(at)) => format!("refused by LINE {}", format_to_minute(at)),
        (true, None) => "set".to_owned(),
    };
    let max_file_mib = channel
        .largest_file
        .map_or(i64::MAX, |bytes| bytes >> 20)
        .min(i64::from(LARGEST_MIB));
    let row = [
        channel.slug.clone(),
        state,
        unless_removed(channel.secrets.to_string()),
        unless_removed(token),
        unless_removed(format!("{max_file_mib} MiB")),
        channel
            .rules
            .clone()
            .unwrap_or_else(|| "no limit".to_owned()),
        channel
            .last_webhook_at
            .map_or_else(|| "never".to_owned(), format_to_minute),
        channel.name.clone(),
    ];
    row.map(|cell| one_line(&cell))
}

fn format_to_minute(at: DateTime<Utc>) -> String {
    at.format("%F %H:%M UTC").to_string()
}

/// Escapes control characters, which could end the column or the line: anyone with access to the database could have
/// written them.
fn one_line(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel {
            id: 1,
            slug: "shop".to_owned(),
            name: name.to_owned(),
            has_token: false,
            secrets: 1,
            token_refused_at: None,
            last_webhook_at: None,
            largest_file: Some(200 << 20),
            removed_at: None,
            rules: Some("any 365 days, text 30 days".to_owned()),
        }
    }

    #[test]
    fn control_characters_in_a_name_are_escaped() {
        let row = row(&channel("คุณ\n\u{1b}[2Jother\tname"));
        assert_eq!(row[7], "คุณ\\n\\u{1b}[2Jother\\tname");
        assert_eq!(table(HEADER, &[row])[1].lines().count(), 1);
    }

    #[test]
    fn a_removed_channel_shows_no_secrets_token_or_file_limit() {
        let mut shop = channel("Shop");
        assert_eq!(row(&shop)[4..6], ["200 MiB", "any 365 days, text 30 days"]);
        shop.removed_at = DateTime::from_timestamp(1_795_000_000, 0);
        let row = row(&shop);
        assert_eq!(row[1], "removed 2026-11-18 11:06 UTC");
        assert_eq!(row[2..5], ["-", "-", "-"]);
    }
}
