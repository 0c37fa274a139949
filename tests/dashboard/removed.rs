//! A removed channel: its messages stay readable, and every page that names the channel says that it was removed.

use line_chat_archive::records::channels;

use crate::site::{Site, between};

#[tokio::test]
async fn a_removed_channel_is_marked_wherever_channels_are_named() {
    let site = Site::new().await;
    let desk = site.channel("desk").await;
    let aoi = desk.user("Aoi");
    let text = aoi.sends_text("oh").await.unwrap();
    aoi.unsends(&text).await.unwrap();
    let admin = site.admin().await;
    let rule = [("channel", "2"), ("kind", "any"), ("days", "30")];
    assert_eq!(admin.post("/retention", &rule).await.status(), 303);
    let id = |query| site.one::<String>(query);
    let (rule, erasure, conversation) = (
        id("select id::text from retention_rule").await,
        id("select id::text from erasure").await,
        id("select id::text from conversation").await,
    );
    let pages = [
        "/conversations".to_owned(),
        format!("/conversations/{conversation}"),
        "/erasures".to_owned(),
        format!("/erasures/{erasure}"),
        "/retention".to_owned(),
        format!("/retention/{rule}"),
    ];
    for path in &pages {
        assert!(!admin.page(path).await.contains("(removed)"), "{path}");
    }
    let mut db = site.db().await;
    channels::remove(&mut db, 2, site.clock.now())
        .await
        .unwrap();
    for path in &pages {
        let page = admin.page(path).await;
        let named = page.matches("desk</bdi>").count() + page.matches("desk (removed)").count();
        let marked = page.matches("(removed)").count();
        assert!(marked > 0, "{path}");
        assert_eq!(marked, named, "{path}");
    }
    let list = admin.page("/conversations").await;
    let chips = between(&list, "<a class=\"chip\"", "</a>");
    let of = |slug: &str| {
        chips
            .iter()
            .find(|chip| chip.contains(&format!("channel={slug}\"")))
            .unwrap()
    };
    assert!(of("desk").contains("(removed)") && !of("shop").contains("(removed)"));
    let options = admin.page("/erasures").await;
    assert!(options.contains(r#"<option value="desk">desk (removed)</option>"#));
    assert!(options.contains(r#"<option value="shop">shop</option>"#));
}
