//! An operator sees the channels they are given, and of the others not even that there is something.

use std::time::Duration;

use uuid::Uuid;

use crate::harness::{T, run};

/// The id of the first row, as text.
async fn id(t: &T, query: &'static str) -> anyhow::Result<String> {
    let id: Uuid = sqlx::query_scalar(query).fetch_one(t.pool()).await?;
    Ok(id.to_string())
}

#[tokio::test]
async fn of_another_channel_nothing_is_seen_or_heard() {
    run(async |t| {
        let other = t.channel("other").await?;
        let (aoi, ben) = (t.shop.user("Aoi"), other.user("Ben"));
        aoi.sends_text("mine to see").await?;
        ben.sends_text("not mine to see").await?;
        ben.sends_image(line_chat_archive::fake_line::drawing::photo(1, 80, 60))
            .await?;
        let crew = other.group("Secret crew", &[&ben]);
        crew.pictured(line_chat_archive::fake_line::drawing::photo(2, 80, 80));
        crew.member(&ben).sends_text("in the group").await?;
        t.run_jobs().await?;
        let file = id(t, "select id from attachment").await?;
        let contact = "select id from contact where channel_id = 2";
        let contact = id(t, contact).await?;
        let alone = "select id from conversation where channel_id = 2 and kind = 'user'";
        let alone = id(t, alone).await?;
        let group = "select id from conversation where channel_id = 2 and kind = 'group'";
        let group = id(t, group).await?;
        let paths = [
            format!("/conversations/{alone}"),
            format!("/conversations/{group}"),
            format!("/conversations/{group}/picture"),
            format!("/attachments/{file}"),
            format!("/attachments/{file}/preview"),
            format!("/contacts/{contact}/picture"),
        ];

        t.operator("all", None).await?;
        let all = t.visitor("all").await?;
        for path in &paths {
            assert_eq!(all.status(path).await?, 200, "{path}");
        }
        t.operator("mia", Some(&["shop"])).await?;
        let mia = t.visitor("mia").await?;
        for path in &paths {
            assert_eq!(mia.status(path).await?, 404, "{path}");
        }
        let text = ben.sends_text("soon gone").await?;
        ben.unsends(&text).await?;
        for path in ["/conversations", "/erasures"] {
            let page = mia.reads(path).await?;
            assert!(all.reads(path).await?.contains("other"), "{path}");
            for word in ["Ben", "Secret crew", "not mine", "other", &alone, &group] {
                assert!(!page.contains(word), "{word} in {path}");
            }
        }
        let filtered = "/conversations?channel=other";
        assert_eq!(
            (all.status(filtered).await?, mia.status(filtered).await?),
            (200, 404)
        );
        assert!(mia.reads("/conversations").await?.contains("mine to see"));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_live_stream_tells_of_ones_own_channels_only() {
    run(async |t| {
        let other = t.channel("other").await?;
        let (aoi, ben) = (t.shop.user("Aoi"), other.user("Ben"));
        aoi.sends_text("hello").await?;
        ben.sends_text("hello").await?;
        let mine = id(t, "select id from conversation where channel_id = 1").await?;
        let theirs = id(t, "select id from conversation where channel_id = 2").await?;
        t.operator("mia", Some(&["shop"])).await?;
        t.operator("all", None).await?;
        let mia = t.visitor("mia").await?;
        let page = mia.reads("/conversations").await?;
        let mark = page
            .split("data-live=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let live = format!("/live?since={}", mark.unwrap_or_default());
        let mut hers = mia.gets(&live).await?;
        let mut everybodys = t.visitor("all").await?.gets(&live).await?;

        ben.sends_text("psst").await?;
        let heard = until_told(&mut everybodys, &theirs).await?;
        assert!(heard.contains(&theirs), "somebody hears of it");
        aoi.sends_text("last").await?;
        // Changes come in order: by now she would have been told of the first.
        let heard = until_told(&mut hers, &mine).await?;
        assert!(!heard.contains(&theirs), "{heard}");
        assert!(!heard.contains('*'), "{heard}");
        drop((hers, everybodys));
        Ok(())
    })
    .await;
}

/// What a stream says until it names `id`.
async fn until_told(stream: &mut reqwest::Response, id: &str) -> anyhow::Result<String> {
    let mut heard = String::new();
    while !heard.contains(id) {
        let chunk = tokio::time::timeout(Duration::from_secs(5), stream.chunk()).await??;
        let chunk = anyhow::Context::context(chunk, "the stream ended")?;
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
    Ok(heard)
}
