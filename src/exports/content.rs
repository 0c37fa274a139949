//! The content of an export: `data.json`, and the names of the files beside it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Error, Exports, PAGE_ITEMS, out::Out};
use crate::records::{
    exports::{self, Item},
    subjects::{self, Task},
    timeline,
};

impl Exports {
    /// Writes `data.json`. Returns the files that belong beside it: the name in the zip, and the key of the object.
    pub(super) async fn data(
        &self,
        task: &Task,
        file: &mut Out<'_>,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut conn = self.pool.acquire().await?;
        let person = exports::person(&mut conn, &self.keyring, task).await?;
        let memberships = exports::memberships(&mut conn, task).await?;
        let mut media = vec![];
        let picture = person.picture_key.map(|key| {
            media.push(("media/picture.jpg".to_owned(), key));
            "media/picture.jpg"
        });
        let head = json!({
            "user_id": person.user_id,
            "follows": person.follows,
            "first_seen_at": person.first_seen_at,
            "profile": document(person.profile.as_deref()),
            "picture": picture,
            "memberships": memberships.iter().map(|one| json!({
                "kind": one.kind, "id": one.source_id, "present": one.present, "since": one.changed_at,
            })).collect::<Vec<_>>(),
        });
        file.begin("data.json")?;
        file.put(format!("{{\"person\":{head},\n\"messages\":[").as_bytes())
            .await?;
        let until = self.clock.now();
        for events in [false, true] {
            if events {
                file.put(b"],\n\"events\":[").await?;
            }
            let (mut from, mut first) = (subjects::START, true);
            loop {
                let found = match events {
                    false => subjects::messages(&mut conn, task, until, from, PAGE_ITEMS).await?,
                    true => subjects::events(&mut conn, task, until, from, PAGE_ITEMS).await?,
                };
                let Some(last) = found.last() else {
                    break;
                };
                from = last.end();
                let ids: Vec<Uuid> = found.iter().map(|one| one.id).collect();
                for (item, value) in self.items(&mut conn, &ids, events).await? {
                    file.put(if first { b"\n" } else { b",\n" }).await?;
                    first = false;
                    let mut value = value;
                    if let Some(object) = &item.original_key {
                        let name = name(&item);
                        value["file"] = json!(name);
                        media.push((name, object.clone()));
                    }
                    file.put(value.to_string().as_bytes()).await?;
                }
            }
        }
        file.put(b"]}\n").await?;
        Ok(media)
    }

    async fn items(
        &self,
        conn: &mut sqlx::PgConnection,
        ids: &[Uuid],
        events: bool,
    ) -> Result<Vec<(Item, Value)>, Error> {
        let items = match events {
            true => exports::events(conn, &self.keyring, ids).await?,
            false => exports::messages(conn, ids).await?,
        };
        let mut revisions = match events {
            true => vec![],
            false => timeline::revisions(conn, &self.keyring, ids).await?,
        };
        let values = items.into_iter().map(|item| {
            let said: Vec<Value> = revisions
                .extract_if(.., |revision| revision.message_id == item.id)
                .map(|revision| {
                    json!({
                        "at": revision.occurred_at,
                        "edited": revision.edited,
                        "event": document(revision.content.as_deref()),
                    })
                })
                .collect();
            let mut value = json!({
                "id": item.line_id,
                "kind": item.kind,
                "at": item.occurred_at,
                "received_at": item.received_at,
                "in": { "kind": item.place, "id": item.source_id },
            });
            match events {
                true => value["event"] = document(item.content.as_deref()),
                false => value["revisions"] = json!(said),
            }
            (item, value)
        });
        Ok(values.collect())
    }
}

/// JSON as it is, other content as a string. Null for `None`: there is no content, or it can no longer be opened.
fn document(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| {
        serde_json::from_slice(bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
    })
}

/// The name of the file of `item` in the zip, built from LINE's message id. LINE's ids are digits, but LINE does not
/// guarantee it, and anyone who has a channel's secret can choose an id. If the id is not made of digits, the name uses
/// the archive's own id, so that no two files have the same name, which a zip refuses.
fn name(item: &Item) -> String {
    let id = &item.line_id;
    let is_lines = (1..=40).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    let id = match is_lines {
        true => id.clone(),
        false => item.id.to_string(),
    };
    let ending = match &*item.kind {
        "image" => "jpg",
        "video" => "mp4",
        "audio" => "m4a",
        _ => "bin",
    };
    format!("media/{id}.{ending}")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    /// A zip cannot hold two entries of one name, and anyone who has a channel's secret can choose message ids.
    #[test]
    fn no_two_files_of_an_export_have_one_name() {
        let long = "1".repeat(70_000);
        let ids = [
            "468789577898262530",
            "4687-89577898262530",
            "picture",
            "",
            "-",
            "１",
            "a",
            "A",
            &long,
        ];
        let names = (0..).zip(ids).map(|(n, id)| {
            let item = Item {
                id: Uuid::from_u128(n),
                line_id: id.to_owned(),
                kind: "image".to_owned(),
                occurred_at: DateTime::UNIX_EPOCH,
                received_at: DateTime::UNIX_EPOCH,
                place: "user".to_owned(),
                source_id: String::new(),
                original_key: None,
                content: None,
            };
            name(&item).to_ascii_lowercase()
        });
        let mut names: Vec<_> = names.collect();
        assert_eq!(names[0], "media/468789577898262530.jpg");
        assert!(names.iter().all(|name| name.len() < 100));
        names.push("media/picture.jpg".to_owned());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ids.len() + 1);
    }
}
