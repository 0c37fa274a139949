//! Channels outside of an operator's scope do not exist for them.

use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    site::{Site, between, listed},
    support::visitor::Visitor,
};

/// The status and the page, without the id that differs in each answer.
async fn answer(visitor: &Visitor, path: &str) -> (StatusCode, String) {
    let answer = visitor.get(path).await;
    let status = answer.status();
    let page = answer.text().await.unwrap();
    let id = between(&page, "<code>", "</code>")
        .first()
        .map_or("-", |id| *id)
        .to_owned();
    (status, page.replace(&id, ""))
}

#[tokio::test]
async fn another_channels_things_are_answered_as_missing_ones() {
    let site = Site::new().await;
    let desk = site.channel("desk").await;
    for channel in [&site.shop, &desk] {
        let aoi = channel.user("Aoi");
        aoi.sends_image(line_chat_archive::fake_line::pictures::photo(1, 64, 48))
            .await
            .unwrap();
        let unsent = aoi.sends_text("gone").await.unwrap();
        aoi.unsends(&unsent).await.unwrap();
    }
    site.run_jobs().await;
    site.operator("keiko", "compliance", Some(&["shop"])).await;
    site.operator("nobody", "operator", Some(&[])).await;
    let admin = site.admin().await;
    let keiko = site.visitor("keiko").await;
    let blind = site.visitor("nobody").await;

    for slug in ["shop", "desk"] {
        let id = async |query: &'static str| -> Uuid {
            sqlx::query_scalar(query)
                .bind(slug)
                .fetch_one(&mut site.db().await)
                .await
                .unwrap()
        };
        let conversation =
            id("select c.id from conversation c join channel on channel.id = channel_id where slug = $1").await;
        let contact = id(
            "select c.id from contact c join channel on channel.id = channel_id where slug = $1",
        )
        .await;
        let file = id(
            "select a.id from attachment a join channel on channel.id = channel_id where slug = $1",
        )
        .await;
        for (path, missing) in [
            (
                format!("/conversations/{conversation}"),
                format!("/conversations/{}", Uuid::nil()),
            ),
            (
                format!("/conversations/{conversation}/media?of=photos"),
                format!("/conversations/{}/media?of=photos", Uuid::nil()),
            ),
            (
                format!("/conversations/{conversation}/picture"),
                format!("/conversations/{}/picture", Uuid::nil()),
            ),
            (
                format!("/contacts/{contact}/picture"),
                format!("/contacts/{}/picture", Uuid::nil()),
            ),
            (
                format!("/attachments/{file}"),
                format!("/attachments/{}", Uuid::nil()),
            ),
            (
                format!("/attachments/{file}/preview"),
                format!("/attachments/{}/preview", Uuid::nil()),
            ),
            (
                format!("/conversations?channel={slug}"),
                "/conversations?channel=none".to_owned(),
            ),
        ] {
            assert_eq!(admin.status(&path).await, 200, "{path}");
            let sees = slug == "shop";
            assert_eq!(
                keiko.status(&path).await,
                if sees { 200 } else { 404 },
                "{slug} {path}"
            );
            if !sees {
                assert_eq!(
                    answer(&keiko, &path).await,
                    answer(&keiko, &missing).await,
                    "{path}"
                );
            }
            assert_eq!(blind.status(&path).await, 404, "{path}");
            assert_eq!(site.stranger().status(&path).await, 303, "{path}");
        }
    }
    assert_eq!(listed(&admin.page("/conversations").await).len(), 2);
    assert_eq!(listed(&keiko.page("/conversations").await).len(), 1);
    assert_eq!(listed(&blind.page("/conversations").await).len(), 0);
    let erasures =
        async |visitor: &Visitor| between(&visitor.page("/erasures").await, "<tr id=", ">").len();
    assert_eq!(erasures(&admin).await, 2);
    assert_eq!(erasures(&keiko).await, 1);
    assert_eq!(
        blind.status("/erasures").await,
        403,
        "an operator has no business there"
    );
    assert!(!blind.page("/conversations").await.contains("/erasures"));
}

#[tokio::test]
async fn a_quote_shows_nothing_of_another_conversation() {
    let site = Site::new().await;
    let (aoi, ken) = (site.shop.user("Aoi"), site.shop.user("Ken"));
    let secret = aoi.sends_text("CONFIDENTIAL").await.unwrap();
    ken.sends_text("what was that?")
        .quoting_id(secret.message_id())
        .await
        .unwrap();
    let admin = site.admin().await;
    let kens: Uuid = site
        .one("select m.conversation_id from message m where quoted_message_id is not null")
        .await;
    let page = admin.page(&format!("/conversations/{kens}")).await;
    let thread = page.split("id=\"thread\"").nth(1).unwrap();
    assert!(thread.contains("a message that is not in the archive"));
    assert!(!thread.contains("CONFIDENTIAL"));
}
