//! Searches for data that should be erased: every text and byte column of every table, and every object, both as stored
//! and decrypted with the remaining keys.

use crate::harness::T;

impl T {
    /// The places that still contain `mark`: `table.column × rows`, or `object`.
    pub async fn traces(&self, mark: &str) -> anyhow::Result<Vec<String>> {
        let columns: Vec<(String, String, String)> = sqlx::query_as(
            "select table_name::text, column_name::text, data_type::text from information_schema.columns
             where table_schema = 'public' and data_type in ('text', 'bytea') order by 1, 2",
        )
        .fetch_all(self.pool())
        .await?;
        let mut found = vec![];
        for (table, column, kind) in columns {
            let text = if kind == "bytea" {
                format!("position(convert_to($1, 'UTF8') in {column}) > 0")
            } else {
                format!("position($1 in {column}) > 0")
            };
            let query = format!("select count(*) from {table} where {text}");
            let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .bind(mark)
                .fetch_one(self.pool())
                .await?;
            if rows > 0 {
                found.push(format!("{table}.{column} × {rows}"));
            }
        }
        let documents = self.documents().await?;
        for lies in [
            "contact.profile",
            "conversation.summary",
            "event.content",
            "revision.content",
        ] {
            let holds = |plain: &[u8]| {
                plain
                    .windows(mark.len())
                    .any(|window| window == mark.as_bytes())
            };
            let rows = documents
                .iter()
                .filter(|(at, _, plain)| *at == lies && holds(plain))
                .count();
            if rows > 0 {
                found.push(format!("{lies} × {rows}"));
            }
        }
        for object in self
            .objects()?
            .into_iter()
            .chain(self.opened_objects().await?)
        {
            if object
                .windows(mark.len())
                .any(|window| window == mark.as_bytes())
            {
                found.push("object".to_owned());
            }
        }
        Ok(found)
    }
}
