//! Photos that were sent together are shown together: in any order of arrival, with missing ones, across page borders.

use bytes::Bytes;
use line_chat_archive::fake_line::{Event, pictures};
use uuid::Uuid;

use crate::site::{Site, between, listed};

fn pictures(count: u64) -> Vec<Bytes> {
    (0..count).map(|n| pictures::photo(n, 40, 30)).collect()
}

/// The album of a page, position by position: the id of a file, or the text in place of a missing one.
fn album(page: &str) -> Vec<String> {
    let album = between(page, "<div class=\"album ", "</li>").join("");
    let shots = album.split("<div class=\"shot").skip(1);
    shots
        .map(|shot| match shot.starts_with(" lacking") {
            true => between(shot, "</svg>", "</p>")[0].to_owned(),
            false => between(shot, "data-full=\"", "\"")[0].to_owned(),
        })
        .collect()
}

async fn file(site: &Site, event: &Event) -> String {
    let id: Uuid = sqlx::query_scalar(
        "select a.id from attachment a join message m on m.id = a.message_id where m.message_id = $1",
    )
    .bind(event.message_id())
    .fetch_one(&mut site.db().await)
    .await
    .unwrap();
    id.to_string()
}

#[tokio::test]
async fn photos_that_come_in_any_order_fill_their_places() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let set: Vec<Event> = aoi
        .sends_image_set(pictures(5))
        .into_iter()
        .map(|photo| photo.make())
        .collect();
    let admin = site.admin().await;
    let mut files = vec![String::new(); 5];
    for (n, at) in [3, 0, 4, 2, 1].into_iter().enumerate() {
        assert!(site.shop.deliver(&set[at..=at]).await.acknowledged());
        site.run_jobs().await;
        files[at] = file(&site, &set[at]).await;
        let id: Uuid = site.one("select id from conversation").await;
        let page = admin.page(&format!("/conversations/{id}")).await;
        let expected: Vec<_> = (0..5)
            .map(|n| match files[n].is_empty() {
                true => format!("Photo {} of 5 has not arrived", n + 1),
                false => files[n].clone(),
            })
            .collect();
        assert_eq!(album(&page), expected, "after {}", n + 1);
        // Each photo is a message of its own: it can be linked to, and erased.
        for event in [3, 0, 4, 2, 1][..=n].iter().map(|at| &set[*at]) {
            let message: Uuid = sqlx::query_scalar("select id from message where message_id = $1")
                .bind(event.message_id())
                .fetch_one(&mut site.db().await)
                .await
                .unwrap();
            assert_eq!(page.matches(&format!("id=\"m-{message}\"")).count(), 1);
            let erase = format!("href=\"/messages/{message}/erase\"");
            assert_eq!(page.matches(&erase).count(), 1);
        }
    }
}

#[tokio::test]
async fn of_a_photo_that_was_taken_back_its_place_alone_is_left() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let set: Vec<Event> = aoi
        .sends_image_set(pictures(3))
        .into_iter()
        .map(|photo| photo.make())
        .collect();
    assert!(site.shop.deliver(&set).await.acknowledged());
    site.run_jobs().await;
    let admin = site.admin().await;
    let id: Uuid = site.one("select id from conversation").await;
    let path = format!("/conversations/{id}");
    let gone = file(&site, &set[1]).await;
    assert_eq!(album(&admin.page(&path).await).len(), 3);
    aoi.unsends(&set[1]).await.unwrap();
    let page = admin.page(&path).await;
    assert_eq!(
        album(&page)[1],
        "Photo 2 of 3 is not here: not arrived, or taken back"
    );
    assert!(!page.contains(&gone));
    assert!(page.contains("message unsent"));
    site.run_jobs().await;
}

#[tokio::test]
async fn an_album_is_whole_however_much_was_sent_after_the_page_ends() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let set: Vec<Event> = aoi
        .sends_image_set(pictures(3))
        .into_iter()
        .map(|photo| photo.make())
        .collect();
    assert!(site.shop.deliver(&set).await.acknowledged());
    site.run_jobs().await;
    let many: Vec<Event> = (0..120)
        .map(|n| aoi.sends_image(pictures::photo(n, 40, 30)).make())
        .collect();
    assert!(site.shop.deliver(&many).await.acknowledged());
    let admin = site.admin().await;
    let chat: Uuid = site.one("select id from conversation").await;
    let oldest = admin
        .walk(&format!("/conversations/{chat}/media"), "Earlier")
        .await
        .pop()
        .unwrap();
    // The page that ends with the first of the three.
    let links = between(&oldest, "<p class=\"hint origin\"><a href=\"", "\"");
    let page = admin
        .page(&links.last().unwrap().replace("&#38;", "&"))
        .await;
    let mut files = vec![];
    for event in &set {
        files.push(file(&site, event).await);
    }
    assert_eq!(album(&page), files);
}

/// Race R15: one photo of a set is unsent, any of them, after the others arrived or before it arrived itself.
#[tokio::test]
async fn of_an_album_that_one_alone_goes_which_was_unsent() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let cases = [false, true]
        .into_iter()
        .flat_map(|early| (0..4).map(move |at| (early, at)));
    for (n, (early, at)) in cases.enumerate() {
        let person = site.shop.user(&format!("Person {n}"));
        let set: Vec<Event> = person
            .sends_image_set(pictures(4))
            .into_iter()
            .map(|photo| photo.make())
            .collect();
        let before = site.bucket.files().await;
        if early {
            person.unsends(&set[at]).await.unwrap();
        }
        assert!(site.shop.deliver(&set).await.acknowledged());
        site.run_jobs().await;
        if !early {
            person.unsends(&set[at]).await.unwrap();
            site.run_jobs().await;
        }
        let kept = site.bucket.files().await - before;
        assert_eq!(
            kept, 7,
            "three photos, their previews, and the face of who sent them"
        );

        let list = listed(&admin.page("/conversations").await);
        let page = admin.page(&format!("/conversations/{}", list[0])).await;
        let album = album(&page);
        assert_eq!(album.len(), 4, "{early} {at}");
        for (place, shown) in album.iter().enumerate() {
            if place == at {
                let words = format!("Photo {} of 4 is not here", at + 1);
                assert!(shown.starts_with(&words), "{early} {at}: {shown}");
                continue;
            }
            assert_eq!(*shown, file(&site, &set[place]).await, "{early} {at}");
            let bytes = admin
                .get(&format!("/attachments/{shown}"))
                .await
                .bytes()
                .await;
            assert_eq!(bytes.unwrap(), pictures(4)[place], "{early} {at}");
        }
    }
}

#[tokio::test]
async fn an_album_that_stands_on_two_pages_is_whole_on_both() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let mut events: Vec<Event> = (0..30)
        .map(|n| aoi.sends_text(&format!("before {n}")).make())
        .collect();
    let set: Vec<Event> = aoi
        .sends_image_set(pictures(6))
        .into_iter()
        .map(|photo| photo.make())
        .collect();
    events.extend(set.iter().cloned());
    // Three of the photos are among the newest sixty entries.
    events.extend((0..57).map(|n| aoi.sends_text(&format!("after {n}")).make()));
    assert!(site.shop.deliver(&events).await.acknowledged());
    site.run_jobs().await;
    let admin = site.admin().await;
    let id: Uuid = site.one("select id from conversation").await;
    let mut files = vec![];
    for event in &set {
        files.push(file(&site, event).await);
    }
    let pages = admin
        .walk(&format!("/conversations/{id}"), "Earlier messages")
        .await;
    assert_eq!(pages.len(), 2);
    for page in &pages {
        assert_eq!(album(page), files);
    }
}
