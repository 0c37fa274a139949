//! The gallery of a conversation: files and links are found, in order, and not after an unsend.

use line_chat_archive::fake_line::{Event, pictures};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::site::{Site, between, link};

/// The ids of the messages that a page of the gallery shows, in order.
fn shown(page: &str) -> Vec<Uuid> {
    let ids = between(page, r#"<li id="m-"#, "\"");
    ids.into_iter().map(|id| id.parse().unwrap()).collect()
}

/// The archive's own id of a message.
async fn id(site: &Site, event: &Event) -> Uuid {
    sqlx::query_scalar("select id from message where message_id = $1")
        .bind(event.message_id())
        .fetch_one(&mut site.db().await)
        .await
        .unwrap()
}

async fn address(site: &Site) -> String {
    let id: Uuid = site.one("select id from conversation").await;
    format!("/conversations/{id}/media")
}

#[tokio::test]
async fn each_kind_has_its_place_and_leads_to_its_message() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_text("nothing to see here").await.unwrap();
    let photo = aoi.sends_image(pictures::photo(1, 64, 48)).await.unwrap();
    let video = aoi
        .sends_video(&b"\0\0\0\x18ftypmp42"[..], 61_000)
        .await
        .unwrap();
    let voice = aoi
        .sends_audio(&b"\0\0\0\x18ftypM4A "[..], 3_000)
        .await
        .unwrap();
    let file = aoi
        .sends_file("見積書.pdf", &b"%PDF-1.7"[..])
        .await
        .unwrap();
    let link = aoi
        .sends_text("see https://example.com/a?b=1&c and http://example.org/ too")
        .await
        .unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let address = address(&site).await;

    for (of, event, words) in [
        ("photos", &photo, "alt=\"photo\""),
        ("videos", &video, "1:01"),
        ("voice", &voice, "0:03"),
        ("files", &file, "見積書.pdf"),
        ("links", &link, "href=\"https://example.com/a?b=1&#38;c\""),
    ] {
        let page = admin.page(&format!("{address}?of={of}")).await;
        let id = id(&site, event).await;
        assert_eq!(shown(&page), [id], "{of}");
        assert!(page.contains(words), "{of}: {words}");
        // The link leads to a page that contains the message.
        let jump =
            between(&page, "<p class=\"hint origin\"><a href=\"", "\"")[0].replace("&#38;", "&");
        let (thread, anchor) = jump.split_once('#').unwrap();
        let thread = admin.page(thread).await;
        assert!(
            thread.contains(&format!("id=\"{anchor}\"")),
            "{of}: {anchor}"
        );
    }
    let links = admin.page(&format!("{address}?of=links")).await;
    assert!(links.contains(">http://example.org/</a>"), "both of them");
    assert!(!links.contains("nothing to see here"));
    let conversation = address.strip_suffix("/media").unwrap();
    let page = admin.page(conversation).await;
    assert!(
        page.contains(&format!("href=\"{address}?of=photos\"")),
        "the head leads here"
    );
    for wrong in ["?of=secrets", "?before=x", "?of=photos&before=1-"] {
        let answer = admin.get(&format!("{address}{wrong}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{wrong}");
    }
}

#[tokio::test]
async fn the_gallery_is_read_to_its_end_and_shows_nothing_unsent() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let at = aoi.sends_text("x").make().timestamp();
    // All with the same timestamp: the id decides the order.
    let photos: Vec<Event> = (0..130)
        .map(|n| aoi.sends_image(vec![n as u8]).dated(at).make())
        .collect();
    assert!(site.shop.deliver(&photos).await.acknowledged());
    let mut expected = vec![];
    for photo in &photos {
        expected.push(id(&site, photo).await);
    }
    let gone = [3, 64, 129];
    for n in gone {
        aoi.unsends(&photos[n]).await.unwrap();
    }
    let admin = site.admin().await;
    let pages = admin.walk(&address(&site).await, "Earlier").await;
    assert_eq!(pages.len(), 3, "60 items a page");
    let all: Vec<_> = pages.iter().flat_map(|page| shown(page)).collect();
    let mut left: Vec<_> = (0..130)
        .filter(|n| !gone.contains(n))
        .map(|n| expected[n])
        .collect();
    left.sort_unstable_by(|a, b| b.cmp(a));
    assert!(all == left, "each once, the newest first");
    site.run_jobs().await;
}

#[tokio::test]
async fn links_are_found_in_every_text_that_is_left_and_an_edit_counts() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let group = site.shop.group("Weekend crew", &[&aoi]);
    let aoi = group.member(&aoi);
    // One old link, followed by more messages than one page searches.
    let first = aoi.sends_text("https://example.com/first").make();
    let mut events = vec![first];
    events.extend((0..520).map(|n| aoi.sends_text(&format!("text {n}")).make()));
    events.extend((0..70).map(|n| aoi.sends_text(&format!("https://example.com/{n}")).make()));
    for some in events.chunks(200) {
        assert!(site.shop.deliver(some).await.acknowledged());
    }
    aoi.unsends(&events[521 + 7]).await.unwrap();
    aoi.edits(&events[521 + 8], "no link any more")
        .await
        .unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let address = format!("{}?of=links", address(&site).await);
    let first = admin.page(&address).await;
    assert_eq!(shown(&first).len(), 60);
    let next = link(&first, "Earlier").unwrap();
    let second = admin.page(&next).await;
    assert_eq!(
        shown(&second).len(),
        8,
        "70, without one unsent and one edited"
    );
    let last = link(&second, "Look further back").unwrap();
    let last = admin.page(&last).await;
    assert_eq!(shown(&last).len(), 1);
    assert!(last.contains("https://example.com/first"));
    assert!(
        last.contains("</a> <bdi class=\"name\">Aoi</bdi></p>"),
        "in a group: who sent it"
    );
    let all = [first, second, last].concat();
    for n in 0..70 {
        let there = all.contains(&format!(">https://example.com/{n}</a>"));
        assert_eq!(there, n != 7 && n != 8, "{n}");
    }
}

#[tokio::test]
async fn a_voice_message_says_how_long_it_is_whether_it_is_there_or_not() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_audio(&b"\0\0\0\x18ftypM4A "[..], 61_000)
        .await
        .unwrap();
    let admin = site.admin().await;
    let voice = format!("{}?of=voice", address(&site).await);
    let conversation = voice.split("/media").next().unwrap();
    for path in [&voice, conversation] {
        let page = admin.page(path).await;
        assert!(page.contains("Voice message · 1:01"), "{path}");
        assert!(page.contains("Waiting for LINE"), "{path}");
        assert!(!page.contains("<audio"), "{path}");
    }
    site.run_jobs().await;
    for path in [&voice, conversation] {
        let page = admin.page(path).await;
        assert!(page.contains("voice message · 1:01"), "{path}");
        assert!(page.contains("<audio controls"), "{path}");
    }
}
