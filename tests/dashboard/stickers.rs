//! Stickers: the page always shows LINE's description, and a picture only if a setting enables that.

use uuid::Uuid;

use crate::site::Site;

const PICTURE: &str =
    "src=\"https://stickershop.line-scdn.net/stickershop/v1/sticker/52002734/android/sticker.png\"";

/// The pages with and without a conversation, each with the `img-src` part of its policy.
async fn pages(site: &Site) -> Vec<(String, String)> {
    let aoi = site.shop.user("Aoi");
    aoi.sends_sticker("11537", "52002734")
        .keywords(&["cony", "hello"])
        .saying("Good morning")
        .await
        .unwrap();
    aoi.sends_sticker("1", "../../elsewhere").await.unwrap();
    let admin = site.admin().await;
    let id: Uuid = site.one("select id from conversation").await;
    let mut pages = vec![];
    for path in [
        format!("/conversations/{id}"),
        "/conversations".to_owned(),
        format!("/conversations/{id}/media"),
        "/erasures".to_owned(),
    ] {
        let answer = admin.get(&path).await;
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        let images = policy.split("; ").find(|part| part.starts_with("img-src"));
        let images = images.unwrap().to_owned();
        assert_eq!(
            policy.matches("line-scdn").count(),
            images.matches("line-scdn").count()
        );
        pages.push((images, answer.text().await.unwrap()));
    }
    pages
}

#[tokio::test]
async fn switched_off_nothing_leads_outside_and_all_that_is_known_is_shown() {
    let site = Site::new().await;
    let pages = pages(&site).await;
    for (images, page) in &pages {
        assert_eq!(images, "img-src 'self'");
        assert!(!page.contains("line-scdn.net"));
    }
    let page = &pages[0].1;
    for shown in ["Good morning", "cony", "hello", ">52002734<", ">11537<"] {
        assert!(page.contains(shown), "{shown}");
    }
}

#[tokio::test]
async fn switched_on_pictures_come_from_lines_host_alone_and_on_the_pages_that_show_them() {
    let site = Site::with_stickers().await;
    let pages = pages(&site).await;
    let on = "img-src 'self' https://stickershop.line-scdn.net";
    let policies: Vec<_> = pages.iter().map(|(images, _)| images.as_str()).collect();
    // A conversation opens within the page of the list, so the policy of that page applies.
    assert_eq!(policies, [on, on, "img-src 'self'", "img-src 'self'"]);
    let page = &pages[0].1;
    assert_eq!(
        page.matches("line-scdn.net").count(),
        1,
        "the odd one has none"
    );
    assert!(page.contains(PICTURE));
    for shown in ["Good morning", "cony", "hello", ">52002734<", ">11537<"] {
        assert!(page.contains(shown), "{shown}");
    }
}
