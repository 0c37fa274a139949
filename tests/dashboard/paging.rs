//! Keyset pagination: nothing is left out, and nothing appears twice.

use std::collections::HashSet;

use line_chat_archive::fake_line::Event;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::site::{Site, between, link, listed};

#[tokio::test]
async fn a_conversation_is_read_to_its_beginning() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let mut texts: Vec<Event> = (0..150)
        .map(|n| aoi.sends_text(&format!("text {n}")).make())
        .collect();
    // Many with the same timestamp: the id decides the order.
    let at = texts[0].timestamp();
    texts.extend((150..190).map(|n| aoi.sends_text(&format!("text {n}")).dated(at).make()));
    texts.extend((0..20).map(|n| aoi.postback(&format!("tap {n}")).dated(at).make()));
    for body in texts.chunks(90) {
        assert!(site.shop.deliver(body).await.acknowledged());
    }
    for n in [3, 77, 160] {
        aoi.unsends(&texts[n]).await.unwrap();
    }
    let admin = site.admin().await;
    let id: Uuid = site.one("select id from conversation").await;
    let pages = admin
        .walk(&format!("/conversations/{id}"), "Earlier messages")
        .await;
    assert_eq!(pages.len(), 4, "60 entries a page");
    let shown: Vec<_> = pages
        .iter()
        .flat_map(|page| between(page, "\" id=\"m-", "\""))
        .collect();
    assert_eq!(
        shown.len(),
        210,
        "187 messages, 3 places of unsent ones, 20 postbacks"
    );
    assert_eq!(shown.iter().collect::<HashSet<_>>().len(), 210);
    let all = pages.concat();
    for n in 0..190 {
        let there = all.contains(&format!(">text {n}</p>"));
        assert_eq!(there, ![3, 77, 160].contains(&n), "text {n}");
    }
    let newest = link(&pages[3], "Newest messages").unwrap();
    assert_eq!(newest, format!("/conversations/{id}"));
    assert!(link(&pages[0], "Newest messages").is_none());
    for cursor in ["x", "1-", "99999999999999999999-0", "-1", "%00"] {
        let answer = admin
            .get(&format!("/conversations/{id}?before={cursor}"))
            .await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{cursor}");
    }
}

#[tokio::test]
async fn the_list_is_read_to_its_end_beside_an_open_conversation_too() {
    let site = Site::new().await;
    let at = site.shop.user("x").sends_text("x").make().timestamp();
    let events: Vec<Event> = (0..95)
        .map(|n| {
            site.shop
                .user(&format!("User {n}"))
                .sends_text("hello")
                .dated(at + n / 10)
                .make()
        })
        .collect();
    assert!(site.shop.deliver(&events).await.acknowledged());
    let admin = site.admin().await;
    let pages = admin.walk("/conversations", "Earlier conversations").await;
    assert_eq!(pages.len(), 3, "40 rows a page");
    let rows: Vec<_> = pages.iter().flat_map(|page| listed(page)).collect();
    assert_eq!(rows.len(), 95);
    assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 95);

    let first = rows[0];
    let beside = admin
        .walk(&format!("/conversations/{first}"), "Earlier conversations")
        .await;
    assert_eq!(
        beside
            .iter()
            .flat_map(|page| listed(page))
            .collect::<Vec<_>>(),
        rows
    );
    assert!(beside[2].contains("id=\"m-"), "the conversation stays open");
}

#[tokio::test]
async fn erasures_are_read_to_the_first() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let texts: Vec<Event> = (0..70)
        .map(|n| aoi.sends_text(&format!("SLIP {n}")).make())
        .collect();
    assert!(site.shop.deliver(&texts).await.acknowledged());
    let unsends: Vec<Event> = texts.iter().map(|text| aoi.unsends(text).make()).collect();
    assert!(site.shop.deliver(&unsends).await.acknowledged());
    site.run_jobs().await;
    let admin = site.admin().await;
    let pages = admin.walk("/erasures", "Earlier erasures").await;
    let all = pages.concat();
    assert_eq!(
        between(&all, "<tr id=\"e-", "\"")
            .into_iter()
            .collect::<HashSet<_>>()
            .len(),
        70
    );
    assert_eq!(pages.len(), 2);
    for text in &texts {
        assert!(all.contains(text.message_id()));
    }
    assert!(!all.contains("SLIP"));
    assert!(all.contains(">Aoi</bdi>") && all.contains("gone"));
}
