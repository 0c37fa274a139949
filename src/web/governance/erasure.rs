//! `GET /erasures/{id}`: one erasure, from the request until everything is gone, with its records in the ledger.
//! `GET /erasures/{id}/receipt`: the receipt of one record, for an auditor.

use actix_web::{HttpResponse, http::header, web};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::erasures::{OVERDUE, cause, conversation, message};
use crate::web::{
    Error, Shared,
    auth::session::Viewer,
    conversation::names::{ChannelName, Name},
    detached,
    layout::Layout,
    page,
    preferences::Preferences,
    when::{Now, When, took},
};
use crate::{
    ledger::{Hash, Kind, Record, receipt, tree::inclusion_proof},
    records::{
        conversations::Cursor,
        erasure_list::{self, Filter, Row},
        ledger,
    },
};

#[derive(Template)]
#[template(path = "erasure.html")]
struct Page {
    layout: Layout,
    id: Uuid,
    channel: ChannelName,
    message_id: Name,
    conversation: Option<(String, Name)>,
    cause: &'static str,
    steps: Vec<Step>,
    /// Time from the request until everything was gone; `None` while something is left.
    took: Option<String>,
    records: Vec<Sealed>,
    key: String,
}

/// A step of the timeline.
struct Step {
    name: &'static str,
    when: Option<When>,
    /// The result of the step, or the work that it waits for.
    what: String,
    overdue: bool,
}

/// A record of the erasure in the ledger.
struct Sealed {
    seq: i64,
    says: &'static str,
    /// True once a signed checkpoint covers it.
    signed: bool,
    line: String,
}

/// `GET /erasures/{id}`
pub(in crate::web) async fn page(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    if !viewer.sees_erasures() {
        return Err(Error::Forbidden);
    }
    detached(async move {
        let mut layout = Layout::new(&viewer, &preferences, "erasures");
        layout.live = shared.live.mark().to_string();
        let now = page::now(&shared, preferences);
        let mut conn = shared.pool.acquire().await?;
        let row = find(&mut conn, &shared, &viewer, *id).await?;
        let signed = ledger::newest_checkpoint(&mut conn).await?;
        let signed = signed.map_or(0, |checkpoint| checkpoint.size);
        let records = ledger::of_erasure(&mut conn, *id).await?;
        let records = records.into_iter().map(|(seq, bytes)| Sealed {
            seq,
            says: Record::parse(&bytes).map_or("a record", |record| says(record.kind)),
            signed: seq < signed,
            line: String::from_utf8_lossy(&bytes).into_owned(),
        });
        let gone = row.objects_gone_at.zip(row.keys_gone_at);
        let page = Page {
            layout,
            id: row.id,
            channel: ChannelName::new(&row.channel, row.channel_removed),
            message_id: message(&row),
            conversation: conversation(&row),
            cause: cause(&row.cause),
            steps: steps(&row, now),
            took: gone.map(|(objects, keys)| took(objects.max(keys) - row.requested_at)),
            records: records.collect(),
            key: shared.ledger_key.clone(),
        };
        page::html(&page)
    })
    .await
}

async fn find(
    conn: &mut PgConnection,
    shared: &Shared,
    viewer: &Viewer,
    id: Uuid,
) -> Result<Row, Error> {
    let filter = Filter {
        channels: viewer.session.channels.clone(),
        only: Some(id),
        cause: None,
        state: None,
        from: None,
        until: None,
        overdue_before: shared.clock.now() - OVERDUE,
    };
    let rows = erasure_list::page(conn, &shared.keyring, &filter, Cursor::NEWEST, 1).await?;
    rows.into_iter().next().ok_or(Error::NotFound)
}

fn says(kind: Kind) -> &'static str {
    match kind {
        Kind::Requested => "requested, and its rows erased",
        Kind::Purged => "its files confirmed gone",
        Kind::KeysDestroyed => "its keys destroyed",
        Kind::Exported => "exported",
        Kind::Withheld => "withheld by a hold",
        Kind::HoldSet => "a hold set",
        Kind::HoldLifted => "a hold lifted",
    }
}

fn steps(row: &Row, now: Now) -> Vec<Step> {
    let late = now.at - row.rows_gone_at > OVERDUE;
    let count = |n: i32, one: &str, many: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    let step = |name, at, done: String, waits: &str| Step {
        name,
        when: Option::map(at, |at| now.dated(at)),
        overdue: at.is_none() && late,
        what: match at {
            Some(_) => done,
            None => waits.to_owned(),
        },
    };
    vec![
        step(
            "Requested",
            Some(row.requested_at),
            cause(&row.cause).to_owned(),
            "",
        ),
        step(
            "Rows gone",
            Some(row.rows_gone_at),
            match row.rows_erased {
                0 => "It was not in the archive. If it arrives later, it is not stored.".to_owned(),
                n => format!(
                    "{} deleted: message, edits, file records, jobs.",
                    count(n, "row", "rows")
                ),
            },
            "",
        ),
        step(
            "Files gone",
            row.objects_gone_at,
            match row.objects_found {
                0 => "There were none.".to_owned(),
                n => format!("{} deleted and confirmed gone.", count(n, "file", "files")),
            },
            "The files are being deleted. Then the archive checks that they are gone.",
        ),
        step(
            "Keys destroyed",
            row.keys_gone_at,
            match row.keys_found {
                0 => "There were none.".to_owned(),
                n => format!(
                    "{} destroyed: nobody can read what backups and disks still hold of it.",
                    count(n, "key", "keys")
                ),
            },
            "Messages that share a key with it get another key first.",
        ),
    ]
}

#[derive(Deserialize)]
pub(in crate::web) struct ReceiptQuery {
    record: u64,
}

/// `GET /erasures/{id}/receipt?record=…`
pub(in crate::web) async fn receipt(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
    which: web::Query<ReceiptQuery>,
) -> Result<HttpResponse, Error> {
    if !viewer.sees_erasures() {
        return Err(Error::Forbidden);
    }
    detached(async move {
        let mut conn = shared.pool.acquire().await?;
        find(&mut conn, &shared, &viewer, *id).await?;
        let records = ledger::of_erasure(&mut conn, *id).await?;
        let mut records = records.into_iter();
        let record = records.find(|(seq, _)| u64::try_from(*seq) == Ok(which.record));
        let (_, record) = record.ok_or(Error::NotFound)?;
        let checkpoint = ledger::newest_checkpoint(&mut conn).await?;
        let checkpoint = checkpoint.ok_or(Error::NotFound)?;
        let size = u64::try_from(checkpoint.size).unwrap_or_default();
        let mut leaves: Vec<Hash> = vec![];
        while (leaves.len() as u64) < size {
            let more = ledger::leaves(&mut conn, leaves.len() as u64).await?;
            if more.is_empty() {
                return Err(Error::Internal("ledger"));
            }
            leaves.extend(more);
        }
        leaves.truncate(usize::try_from(size).unwrap_or_default());
        let index = usize::try_from(which.record).unwrap_or(usize::MAX);
        if index >= leaves.len() {
            return Err(Error::NotFound); // not signed yet: the next checkpoint signs it within a minute
        }
        let proof = inclusion_proof(&leaves, index);
        let (note, key) = (&checkpoint.note, &shared.ledger_key);
        let text = receipt::write(&record, which.record, size, &proof, note, key);
        let name = format!(
            "attachment; filename=\"erasure-receipt-{}.json\"",
            which.record
        );
        Ok(HttpResponse::Ok()
            .content_type("application/json")
            .insert_header((header::CONTENT_DISPOSITION, name))
            .body(text))
    })
    .await
}
