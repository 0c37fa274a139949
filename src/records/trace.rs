//! Searches every table of the database for a message, even tables that this program does not know. Only reads; content
//! never leaves the database, only counts do.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

/// The ids under which a message, its attachment and its erasure may be found.
#[derive(Debug)]
pub struct Ids {
    /// Its channel, for which LINE's id is valid.
    pub channel_id: i32,
    /// LINE's id.
    pub message_id: String,
    /// Our ids of the message, its attachments and its erasure.
    pub ours: Vec<Uuid>,
    /// Keys of its objects that have a row.
    pub objects: Vec<String>,
    /// Keys that have to be destroyed before its erasure is complete.
    pub keys: Vec<Uuid>,
    /// State of the message.
    pub state: State,
}

/// State of a message id in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The channel has never received the id.
    NeverReceived,
    /// The message was received, and neither unsent nor erased.
    Stored,
    /// It was unsent; perhaps it had been erased before.
    Unsent,
    /// It was unsent under a hold that covers unsends, which keeps it.
    Withheld,
    /// It was erased for this cause: retention, subject or operator.
    Erased(String),
}

/// The number of a channel, removed or not.
pub async fn channel(db: &mut PgConnection, slug: &str) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar("select id from channel where slug = $1")
        .bind(slug)
        .fetch_optional(db)
        .await
}

/// The ids of a message, as far as its channel knows them.
pub async fn ids(db: &mut PgConnection, channel_id: i32, message_id: &str) -> sqlx::Result<Ids> {
    let met: Option<(Uuid, bool, Option<String>, bool)> = sqlx::query_as(
        "select id, unsent_at is not null, erased_cause, exists (select from withheld w where w.message_id = r.id)
         from message_ref r where channel_id = $1 and message_id = $2",
    )
    .bind(channel_id)
    .bind(message_id)
    .fetch_optional(&mut *db)
    .await?;
    let ours: Vec<Uuid> = sqlx::query_scalar(
        "select $1 where $1 is not null
         union select id from attachment where message_id = $1
         union select id from erasure where channel_id = $2 and message_id = $3",
    )
    .bind(met.as_ref().map(|(id, ..)| id))
    .bind(channel_id)
    .bind(message_id)
    .fetch_all(&mut *db)
    .await?;
    let objects = sqlx::query_scalar(
        "select key from object where attachment_id = any($1) or erasure_id = any($1) order by key",
    )
    .bind(&ours)
    .fetch_all(&mut *db)
    .await?;
    let keys = sqlx::query_scalar("select key_id from erasure_key where erasure_id = any($1)")
        .bind(&ours)
        .fetch_all(db)
        .await?;
    Ok(Ids {
        channel_id,
        message_id: message_id.to_owned(),
        ours,
        objects,
        keys,
        state: match met {
            None => State::NeverReceived,
            Some((.., true)) => State::Withheld,
            Some((_, true, ..)) => State::Unsent,
            Some((_, false, Some(cause), _)) => State::Erased(cause),
            Some((_, false, None, _)) => State::Stored,
        },
    })
}

/// A column that can hold an id.
#[derive(FromRow, Debug, Clone)]
struct Column {
    schema: String,
    relation: String,
    name: String,
    kind: String,
    /// True if the table has a column `channel_id`.
    of_channel: bool,
}

/// A table that was searched.
#[derive(Debug, PartialEq, Eq)]
pub struct Searched {
    /// Its name; with its schema, if that is not `public`.
    pub table: String,
    /// Number of its columns that can hold an id.
    pub columns: usize,
    /// Number of its rows.
    pub rows: i64,
    /// Rows that name the message, or one of the other ids.
    pub found: i64,
    /// Rows that name the message only as the one they quote.
    pub answers: i64,
}

/// Searches every table for `ids`. A table without a column that can hold an id is in the answer, with no columns.
pub async fn search(db: &mut PgConnection, ids: &Ids) -> sqlx::Result<Vec<Searched>> {
    let columns: Vec<Column> = sqlx::query_as(
        "select t.table_schema::text as schema, t.table_name::text as relation,
            coalesce(c.column_name, '')::text as name, coalesce(c.udt_name, '')::text as kind,
            exists (select from information_schema.columns o where o.table_schema = t.table_schema
                and o.table_name = t.table_name and o.column_name = 'channel_id' and o.udt_name = 'int4') as of_channel
         from information_schema.tables t
         left join information_schema.columns c on c.table_schema = t.table_schema and c.table_name = t.table_name
            and c.udt_name in ('uuid', '_uuid', 'text', 'varchar', 'bpchar', 'name', '_text', '_varchar', 'json', 'jsonb',
                'bytea')
         where t.table_type in ('BASE TABLE', 'LOCAL TEMPORARY')
            and t.table_schema not in ('pg_catalog', 'information_schema')
         order by t.table_schema <> 'public', 1, 2, c.ordinal_position",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut searched = vec![];
    for table in columns.chunk_by(|a, b| (&a.schema, &a.relation) == (&b.schema, &b.relation)) {
        searched.push(search_table(db, table, ids).await?);
    }
    Ok(searched)
}

async fn search_table(
    db: &mut PgConnection,
    columns: &[Column],
    ids: &Ids,
) -> sqlx::Result<Searched> {
    let first = &columns[0];
    let table = format!("{}.{}", quoted(&first.schema), quoted(&first.relation));
    let of_ids: Vec<&Column> = columns
        .iter()
        .filter(|column| !column.kind.is_empty())
        .collect();
    let mut conditions = Conditions::default();
    for column in &of_ids {
        conditions.add(column);
    }
    let (rows, found, answers) = sqlx::query_as(AssertSqlSafe(conditions.query(&table)))
        .bind(&ids.message_id)
        .bind(&ids.ours)
        .bind(names(ids))
        .bind(ids.channel_id)
        .fetch_one(db)
        .await?;
    Ok(Searched {
        table: match &*first.schema {
            "public" => first.relation.clone(),
            schema => format!("{schema}.{}", first.relation),
        },
        columns: of_ids.len(),
        rows,
        found,
        answers,
    })
}

/// SQL conditions that a row of a table names the message. Their parameters: `$1` LINE's id, `$2` our ids, `$3` our ids
/// and the objects' keys as text, `$4` the channel.
#[derive(Default)]
struct Conditions {
    /// The row names the message, or one of the other ids.
    found: Vec<String>,
    /// The row names the message as the one it quotes.
    answers: Vec<String>,
}

impl Conditions {
    fn add(&mut self, column: &Column) {
        let name = quoted(&column.name);
        match &*column.kind {
            "uuid" => self.found.push(format!("{name} = any($2)")),
            "_uuid" => self.found.push(format!("{name} && $2")),
            _ if (&*column.relation, &*column.name) == ("message", "quoted_message_id") => {
                let of_channel = of_channel(column);
                self.answers.push(format!("({of_channel}{name} = $1)"));
            }
            _ => self.add_text(column, &name),
        }
    }

    /// Adds the conditions for a column in which the ids are a part of a text.
    fn add_text(&mut self, column: &Column, name: &str) {
        let (of_channel, kind) = (of_channel(column), &*column.kind);
        // For bytes, `escape` leaves letters and digits as they are.
        let text = match kind {
            "bytea" => format!("encode({name}, 'escape')"),
            _ => format!("{name}::text"),
        };
        let quote = "'\"quotedMessageId\":\"' || $1 || '\"'";
        self.found
            .push(format!("({of_channel}{})", holds_whole(&text, quote, kind)));
        self.answers
            .push(format!("({of_channel}position({quote} in {text}) > 0)"));
        self.found.push(format!(
            "exists (select from unnest($3) id where position(id in {text}) > 0)"
        ));
        if kind == "bytea" {
            self.found.push(format!(
                "exists (select from unnest($2) id where position(uuid_send(id) in {name}) > 0)"
            ));
        }
    }

    /// The query that counts the rows of `table`, those found, and those that only quote the message.
    fn query(&self, table: &str) -> String {
        let any = |conditions: &[String]| match conditions {
            [] => "false".to_owned(),
            _ => conditions.join(" or "),
        };
        let (found, answers) = (any(&self.found), any(&self.answers));
        // The query names the types of the parameters here, because a table may use none of them.
        format!(
            "select count(*), count(*) filter (where {found}), count(*) filter (where ({answers}) and not ({found}))
         from {table} where $1::text is not null and $2::uuid[] is not null and $3::text[] is not null and $4::int is not null"
        )
    }
}

fn of_channel(column: &Column) -> &'static str {
    if column.of_channel {
        "channel_id = $4 and "
    } else {
        ""
    }
}

/// Our ids, with and without hyphens, and the objects' keys.
fn names(ids: &Ids) -> Vec<String> {
    ids.ours
        .iter()
        .flat_map(|id| [id.to_string(), id.simple().to_string()])
        .chain(ids.objects.iter().cloned())
        .collect()
}

/// The condition that `text` contains `$1` as a whole number outside of `quote`: a part of an id is not an id. Digits
/// of an escaped character (`%20`, `\u0022`) are not part of a number. The pattern is slow, so it is tried only on rows
/// that contain `$1` at all.
fn holds_whole(text: &str, quote: &str, kind: &str) -> String {
    let rest = format!("replace({text}, {quote}, ' ')");
    let plain = match kind {
        // A byte that is written as a backslash and three digits, and a backslash itself, contain no digits of the id.
        "bytea" => format!(r"regexp_replace({rest}, '\\\\|\\[0-7]{{3}}', ' ', 'g')"),
        _ => rest,
    };
    format!(
        "case when position($1 in {text}) > 0 then {plain} ~ ('(^|[^0-9]|%[0-9A-Fa-f]{{2}}|u[0-9A-Fa-f]{{4}})' || $1 || '([^0-9]|$)') else false end"
    )
}

/// The keys of all objects that have a row.
pub async fn object_keys(db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select key from object")
        .fetch_all(db)
        .await
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
