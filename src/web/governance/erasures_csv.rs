//! `GET /erasures.csv`: the erasures that match the filter of the page, for a spreadsheet.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header, web};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{Stream, stream};

use super::erasures::ErasureQuery;
use crate::web::{
    Error, Shared,
    auth::{ends::SessionEnd, session::Viewer},
    detached, page,
    preferences::Preferences,
};
use crate::{
    ledger::export::escape_formula,
    records::{
        conversations::{self, Cursor},
        erasure_list::{self, Row},
    },
    watchdog,
};

/// Rows read at a time.
const PAGE: i64 = 1000;
/// Bytes handed to the connection at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// The most rows in one file; an operator can choose a period to get fewer. The ledger's export has no such limit.
const MAX_ROWS: usize = 200_000;

const COLUMNS: [&str; 12] = [
    "erasure",
    "channel",
    "message_id",
    "cause",
    "asked_at",
    "rows_gone_at",
    "files_gone_at",
    "keys_gone_at",
    "seconds_asked_to_gone",
    "rows",
    "files",
    "keys",
];

/// `GET /erasures.csv?channel=…&cause=…&state=…&from=…&to=…`
pub(in crate::web) async fn file(
    shared: web::Data<Shared>,
    viewer: Viewer,
    preferences: Preferences,
    query: web::Query<ErasureQuery>,
) -> Result<HttpResponse, Error> {
    if !viewer.sees_erasures() {
        return Err(Error::Forbidden);
    }
    detached(async move {
        let now = page::now(&shared, preferences);
        let mut conn = shared.pool.acquire().await?;
        let channels = conversations::channels(&mut conn, &viewer.session.channels).await?;
        let filter = query.filter(&channels, now)?;
        let mut table = csv::Writer::from_writer(Vec::new());
        let written = |_| Error::Internal("csv");
        table.write_record(COLUMNS).map_err(written)?;
        let (mut before, mut count) = (Cursor::NEWEST, 0);
        loop {
            let rows =
                erasure_list::page(&mut conn, &shared.keyring, &filter, before, PAGE).await?;
            let Some(last) = rows.last().filter(|_| count < MAX_ROWS) else {
                break;
            };
            watchdog::progress();
            before = Cursor {
                at: last.rows_gone_at,
                id: last.id,
            };
            count += rows.len();
            for row in &rows {
                table.write_record(cells(row)).map_err(written)?;
            }
        }
        let bytes = table.into_inner().map_err(|_| Error::Internal("csv"))?;
        Ok(HttpResponse::Ok()
            .content_type("text/csv; charset=utf-8")
            .insert_header((
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"erasures.csv\"",
            ))
            .streaming(Box::pin(parts(bytes.into(), viewer.end))))
    })
    .await
}

/// Sends the file in parts. Fails with [`Error::SignedOut`] once the session has ended.
fn parts(bytes: Bytes, end: Arc<SessionEnd>) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::try_unfold((bytes, end), |(mut bytes, end)| async move {
        if end.has_ended() {
            return Err(Error::SignedOut);
        }
        let part = bytes.split_to(bytes.len().min(CHUNK_BYTES));
        Ok((!part.is_empty()).then_some((part, (bytes, end))))
    })
}

fn cells(row: &Row) -> [String; 12] {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let when = |at: Option<DateTime<Utc>>| at.map_or_else(String::new, time);
    let gone = row.objects_gone_at.zip(row.keys_gone_at);
    let span = gone.map(|(objects, keys)| objects.max(keys) - row.requested_at);
    [
        row.id.to_string(),
        escape_formula(&row.channel),
        escape_formula(row.message_id.as_deref().unwrap_or_default()),
        escape_formula(&row.cause),
        time(row.requested_at),
        time(row.rows_gone_at),
        when(row.objects_gone_at),
        when(row.keys_gone_at),
        span.map_or_else(String::new, |span| format!("{:.3}", span.as_seconds_f64())),
        row.rows_erased.to_string(),
        row.objects_found.to_string(),
        row.keys_found.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::web::auth::ends::Ends;

    #[tokio::test]
    async fn a_file_is_sent_whole_and_cut_when_the_session_ends() {
        let file = Bytes::from(vec![7; CHUNK_BYTES * 3 + 5]);
        let ends = Ends::default();
        let whole: Vec<_> = parts(file.clone(), Arc::new(ends.register([1; 32])))
            .map(|part| part.expect("a part"))
            .collect()
            .await;
        assert_eq!(whole.concat(), file);
        let mut cut = Box::pin(parts(file, Arc::new(ends.register([2; 32]))));
        assert!(cut.next().await.is_some_and(|part| part.is_ok()));
        ends.end_all();
        assert!(cut.next().await.is_some_and(|part| part.is_err()));
    }
}
