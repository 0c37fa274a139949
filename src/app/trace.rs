//! `erasures trace`: searches the tables, the object store and the keyring for remains of one message, and lists where
//! it searched.

use std::{collections::HashSet, process::ExitCode};

use anyhow::{Context, bail};
use futures_util::TryStreamExt;
use sqlx::PgConnection;

use super::{
    counted::counted,
    database::{self, Purpose},
    keys, stores,
    table::table,
};
use crate::{
    config::StorageConfig,
    objects::{self, Objects, Shard},
    records::trace::{self, Ids, State},
    seal::{self, Keyring},
};

/// Place of the message's objects in the object store.
const BUCKET_OBJECTS: &str = "bucket: objects of the message";
/// Place of the wrapping keys in the keyring.
const KEYRING_KEYS: &str = "keyring: keys of what was erased";
/// Places with objects that an erasure has not purged yet.
const OBJECT_PLACES: [&str; 2] = ["object", BUCKET_OBJECTS];
/// Places with wrapping keys that an erasure has not destroyed yet.
const KEY_PLACES: [&str; 2] = ["erasure_key", KEYRING_KEYS];

/// Whether a table belongs to the record of an erasure. These tables name the message for ever, but contain nothing of
/// its content.
fn is_record(table: &str) -> bool {
    ["message_ref", "erasure"].contains(&table) || table.starts_with("ledger")
}

/// One table or other location that was searched.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Its name: a table, or a part of the object store or the keyring.
    pub place: String,
    /// How much of it was searched, for example "12 rows, 3 columns".
    pub looked_at: String,
    /// The result.
    pub found: Found,
}

/// Result of the search in one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Number of rows, objects or keys of the message.
    Some(i64),
    /// Number of rows that stay, because they record that the message was erased, or that its id was received.
    Record(i64),
    /// Number of rows of other messages that reply to it. They contain its id and nothing else of it.
    Answers(i64),
    /// Number of objects that no row refers to: they may belong to this message.
    Strays(i64),
}

impl Found {
    /// True if something of the message may be left.
    pub fn is_trace(self) -> bool {
        matches!(self, Self::Some(_) | Self::Strays(_))
    }
}

/// Parses a message id: LINE's ids consist of digits only. A truncated id has this form too, but names no message.
///
/// # Errors
/// It has another form; the error says which kind of id it looks like.
pub fn message_id(text: &str) -> anyhow::Result<String> {
    let is_of = |form: fn(u8) -> bool| !text.is_empty() && text.bytes().all(form);
    if is_of(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    let is_party = text.len() == 33
        && text.starts_with(['U', 'C', 'R'])
        && text.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit());
    let looks_like = if is_party {
        "this looks like the id of a user, group or room"
    } else if text.len() == 26 && is_of(|byte| byte.is_ascii_alphanumeric()) {
        "this looks like the id of a webhook event"
    } else if uuid::Uuid::parse_str(text).is_ok() {
        "this looks like the number of an erasure"
    } else {
        "this has other characters"
    };
    bail!(
        "the id of a message is digits alone, for example 468789577898262530: {looks_like}. It stands in the webhook \
         (message.id), in the erasure and on its receipt"
    )
}

/// Searches for a message everywhere and prints a table of the results. The exit code is 0 if nothing is found, 1 if
/// something is, and 3 if nothing is found and the channel never received the id: it may be mistyped, so the result
/// proves nothing.
///
/// # Errors
/// The search is impossible: the channel does not exist, or the database, the object store or the keyring cannot be
/// used.
pub async fn trace(
    storage: &StorageConfig,
    slug: &str,
    message_id: &str,
    say: &dyn Fn(&str),
) -> anyhow::Result<ExitCode> {
    let (state, lines) = database::with(storage, Purpose::Change, async |database| {
        let mut db = database.connect().await?;
        let objects = stores::objects_alone(storage, &mut db, Purpose::Change).await?;
        let keyring = keys::open(storage, &mut db, Purpose::Change).await?;
        look(&mut db, &objects, &keyring, slug, message_id).await
    })
    .await?;
    say(&match &state {
        State::NeverReceived => format!("The channel {slug} has never received a message with this id."),
        State::Stored => "The message is stored: it was neither unsent nor erased.".to_owned(),
        State::Unsent => "The message was unsent.".to_owned(),
        State::Withheld => {
            "The message was unsent under a hold that covers unsends; it is withheld until the hold is lifted.".to_owned()
        }
        State::Erased(cause) => format!("The message was erased; cause: {cause}."),
    });
    for line in table(["place", "looked at", "found"], &rows(&lines)) {
        say(&line);
    }
    say(
        "Not looked at: the server's files, write-ahead log, replicas and backups, and the logs. Sealed content contains no readable ids; it is erased with its row and its key.",
    );
    let (words, code) = verdict(&state, &lines);
    say(&words);
    Ok(ExitCode::from(code))
}

/// The last line that is printed, and the exit code.
fn verdict(state: &State, lines: &[Line]) -> (String, u8) {
    let traces = lines.iter().filter(|line| line.found.is_trace());
    let traces: Vec<&str> = traces.map(|line| &*line.place).collect();
    match (traces.len(), state) {
        (0, State::NeverReceived) => (
            "Nothing is found in the tables, the bucket and the keyring, and there is no record of this id. An id that is \
             mistyped, that is another channel's or that never came here looks the same: this proves no erasure."
                .to_owned(),
            3,
        ),
        (0, _) => (
            "Nothing of the message is found in the tables, the bucket and the keyring; the channel's record of its id stays."
                .to_owned(),
            0,
        ),
        (count, _) => {
            let found = format!("Something is found in {}", counted(count, "place"));
            let words = match pending(state, &traces) {
                Some(what) => format!(
                    "{found}: only {what}. The running service does this within about a minute: look again then. If it \
                     takes longer, the erasure's page in the dashboard shows which step is missing."
                ),
                None => format!("{found}."),
            };
            (words, 1)
        }
    }
}

/// Says what is left of a message that was erased, if `traces` are only places that the service has yet to clear.
fn pending(state: &State, traces: &[&str]) -> Option<&'static str> {
    let is_erased = matches!(state, State::Unsent | State::Erased(_));
    let is_pending = |place: &&str| OBJECT_PLACES.contains(place) || KEY_PLACES.contains(place);
    if !is_erased || !traces.iter().all(is_pending) {
        return None;
    }
    let objects = traces.iter().any(|place| OBJECT_PLACES.contains(place));
    let keys = traces.iter().any(|place| KEY_PLACES.contains(place));
    match (objects, keys) {
        (true, true) => Some("objects that wait to be deleted, and keys that wait to be destroyed"),
        (true, false) => Some("objects that wait to be deleted"),
        (false, true) => Some("keys that wait to be destroyed"),
        (false, false) => None,
    }
}

/// Searches every table, the object store and the keyring for a message.
///
/// # Errors
/// As [`trace()`].
pub async fn look(
    db: &mut PgConnection,
    objects: &Objects,
    keyring: &Keyring,
    slug: &str,
    message_id: &str,
) -> anyhow::Result<(State, Vec<Line>)> {
    let message_id = &*self::message_id(message_id)?;
    let channel = trace::channel(db, slug).await?;
    let channel = channel
        .with_context(|| format!("there is no channel {slug}: `channel list` lists them"))?;
    let ids = trace::ids(db, channel, message_id).await?;
    let searched = trace::search(db, &ids).await?;
    let mut lines: Vec<Line> = searched
        .into_iter()
        .map(|table| Line {
            found: match (table.found, table.answers) {
                (0, 0) => Found::Nothing,
                (0, answers) => Found::Answers(answers),
                (found, _) if is_record(&table.table) => Found::Record(found),
                (found, _) => Found::Some(found),
            },
            looked_at: format!(
                "{}, {}",
                counted(table.rows, "row"),
                counted(table.columns, "column")
            ),
            place: table.table,
        })
        .collect();
    lines.extend(look_in_bucket(db, objects, &ids).await?);
    lines.push(look_in_keyring(keyring, &ids).await?);
    Ok((ids.state, lines))
}

/// Counts the objects in the object store that rows assign to the message, and those that no row refers to.
async fn look_in_bucket(
    db: &mut PgConnection,
    objects: &Objects,
    ids: &Ids,
) -> anyhow::Result<[Line; 2]> {
    // List the object store first: an object's row is there before its first byte.
    let listed = list_all_keys(objects).await?;
    let known: HashSet<String> = trace::object_keys(db).await?.into_iter().collect();
    let there = ids
        .objects
        .iter()
        .filter(|key| listed.contains(*key))
        .count();
    let mut strays: HashSet<_> = listed.difference(&known).cloned().collect();
    if !strays.is_empty() {
        // An object that was purged after the first listing is not a stray.
        let again = list_all_keys(objects).await?;
        strays.retain(|key| again.contains(key));
    }
    let found = |count: usize, found: fn(i64) -> Found| match count {
        0 => Found::Nothing,
        count => found(i64::try_from(count).unwrap_or(i64::MAX)),
    };
    Ok([
        line(
            BUCKET_OBJECTS,
            counted(ids.objects.len(), "key"),
            found(there, Found::Some),
        ),
        line(
            "bucket: objects without a row",
            counted(listed.len(), "object"),
            found(strays.len(), Found::Strays),
        ),
    ])
}

/// Keys of everything in the object store, also of half-written objects.
async fn list_all_keys(objects: &Objects) -> Result<HashSet<String>, objects::Error> {
    let keys: Vec<_> = objects.traces(Shard::WHOLE).try_collect().await?;
    Ok(keys.iter().map(ToString::to_string).collect())
}

/// Counts the wrapping keys that the message's erasure has to destroy and that are still in the keyring. Until they are
/// destroyed they may also cover data that is not erased, which is first moved to another key.
async fn look_in_keyring(keyring: &Keyring, ids: &Ids) -> anyhow::Result<Line> {
    let mut there = 0;
    for key in &ids.keys {
        match keyring.find(*key).await {
            Err(seal::Error::NoKey) => {}
            Ok(_) | Err(seal::Error::Unreadable | seal::Error::Damaged(_)) => there += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let found = if there > 0 {
        Found::Some(there)
    } else {
        Found::Nothing
    };
    Ok(line(KEYRING_KEYS, counted(ids.keys.len(), "key"), found))
}

fn line(place: &str, looked_at: String, found: Found) -> Line {
    Line {
        place: place.to_owned(),
        looked_at,
        found,
    }
}

fn rows(lines: &[Line]) -> Vec<[String; 3]> {
    let row = |line: &Line| {
        let found = match line.found {
            Found::Nothing => "-".to_owned(),
            Found::Some(n) => format!("FOUND {n}"),
            Found::Record(n) => format!("{n}, the record that stays"),
            Found::Answers(n) => format!("{n} that answer to it"),
            Found::Strays(n) => format!("FOUND {n}, perhaps of it"),
        };
        [line.place.clone(), line.looked_at.clone(), found]
    };
    lines.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remains_that_the_service_will_clear_are_reported_separately() {
        let last = |state: &State, places: &[&str]| {
            let lines: Vec<Line> = places
                .iter()
                .map(|place| line(place, "1 row, 1 column".to_owned(), Found::Some(1)))
                .collect();
            let (words, code) = verdict(state, &lines);
            assert_eq!(code, 1, "{words}");
            words
        };
        let keys = last(&State::Unsent, &["erasure_key", KEYRING_KEYS]);
        assert!(keys.contains("in 2 places: only keys that wait"), "{keys}");
        assert!(keys.contains("look again"), "{keys}");
        let erased = State::Erased("retention".to_owned());
        let objects = last(&erased, &["object"]);
        assert!(objects.contains("in 1 place: only objects"), "{objects}");
        for (state, places) in [
            (State::Unsent, &["erasure_key", "message"][..]),
            (State::Unsent, &["object", "bucket: objects without a row"]),
            (State::Stored, &["object", BUCKET_OBJECTS]),
            (State::Withheld, &["object"]),
        ] {
            let words = last(&state, places);
            assert!(!words.contains("only"), "{state:?}: {words}");
        }
    }

    #[test]
    fn the_id_of_a_message_is_digits_and_other_ids_are_told_by_what_they_look_like() {
        assert_eq!(message_id("325708").unwrap(), "325708");
        for (other, words) in [
            ("", "other characters"),
            (" 468789577898262530", "other characters"),
            ("46878957789826253O", "other characters"),
            ("U4af4980629af4980629af4980629abcde", "other characters"),
            ("Udeadbeefdeadbeefdeadbeefdeadbeef", "a user, group or room"),
            ("01HZX3J9Y8K7M6N5P4Q3R2S1T0", "a webhook event"),
            ("018f3c5e-7b1a-7c3d-8e4f-1a2b3c4d5e6f", "an erasure"),
        ] {
            let said = message_id(other).unwrap_err().to_string();
            assert!(said.contains(words), "{other}: {said}");
            assert!(said.contains("digits alone"), "{other}: {said}");
        }
    }
}
