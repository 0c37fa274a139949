//! Files that are missing: the page says why, with a button if something can be done.

use line_chat_archive::fake_line::pictures;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::site::{Site, between};

#[tokio::test]
async fn a_file_that_was_too_large_is_fetched_after_all_by_who_sees_it() {
    let site = Site::new().await;
    sqlx::query("update channel set largest_file = 1000")
        .execute(&mut site.db().await)
        .await
        .unwrap();
    let aoi = site.shop.user("Aoi");
    aoi.sends_file("plan.pdf", vec![7; 5000]).await.unwrap();
    site.run_jobs().await;
    site.operator("mika", "operator", Some(&["shop"])).await;
    site.operator("ken", "operator", Some(&[])).await;
    let (mika, ken) = (site.visitor("mika").await, site.visitor("ken").await);
    let chat: Uuid = site.one("select id from conversation").await;
    let file: Uuid = site.one("select id from attachment").await;
    let (chat, again) = (
        format!("/conversations/{chat}"),
        format!("/attachments/{file}/fetch"),
    );
    let page = mika.page(&chat).await;
    assert!(page.contains("Too large, not kept") && page.contains("Fetch it after all"));
    assert!(page.contains(&again));

    assert_eq!(ken.post(&again, &[]).await.status(), StatusCode::NOT_FOUND);
    let sent_away = site.stranger().post(&again, &[]).await;
    assert_eq!(sent_away.headers()["location"], "/login?next=%2F");
    for _ in 0..2 {
        let answer = mika.post(&again, &[]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert!(
            answer.headers()["location"]
                .to_str()
                .unwrap()
                .contains("#m-")
        );
    }
    let page = mika.page(&chat).await;
    assert!(page.contains("Waiting for LINE") && !page.contains("Fetch it after all"));
    sqlx::query("update attachment set percent = 40")
        .execute(&mut site.db().await)
        .await
        .unwrap();
    assert!(mika.page(&chat).await.contains("Fetching, 40 %"));
    site.run_jobs().await;
    let page = mika.page(&chat).await;
    assert!(page.contains(&format!("href=\"/attachments/{file}\"")) && !page.contains("40 %"));
    assert_eq!(mika.status(&format!("/attachments/{file}")).await, 200);
}

#[tokio::test]
async fn of_a_video_that_is_not_there_its_picture_is_shown() {
    let site = Site::new().await;
    sqlx::query("update channel set largest_file = 1000")
        .execute(&mut site.db().await)
        .await
        .unwrap();
    let video = site.shop.user("Aoi").sends_video(vec![7; 5000], 61_000);
    let picture = pictures::photo(1, 640, 360);
    video.previewed_by(picture).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let chat: Uuid = site.one("select id from conversation").await;
    let file: Uuid = site.one("select id from attachment").await;
    let page = admin.page(&format!("/conversations/{chat}")).await;
    assert!(page.contains(&format!("<img src=\"/attachments/{file}/preview\"")));
    assert!(page.contains("alt=\"video\"") && page.contains("Too large, not kept · 1:01"));
    assert!(page.contains("Fetch it after all") && !page.contains("<video"));
}

#[tokio::test]
async fn a_refused_token_is_an_alarm_for_who_sees_the_channel_and_messages_go_on() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_text("before").await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let alarm = "LINE refuses the access token of";
    assert!(!admin.page("/conversations").await.contains(alarm));
    let _ = site.shop.reissue_token();
    aoi.sends_file("plan.pdf", vec![7; 50]).await.unwrap();
    aoi.sends_text("AFTER").await.unwrap();
    site.run_jobs().await;
    let page = admin.page("/conversations").await;
    assert!(page.contains(alarm) && page.contains("AFTER"));
    site.operator("ken", "operator", Some(&[])).await;
    let ken = site.visitor("ken").await;
    assert!(!ken.page("/conversations").await.contains(alarm));
}

/// Makes all files of the archive as those that LINE refused for hours.
async fn refuse_all(site: &Site) {
    sqlx::raw_sql(
        "delete from job;
         update attachment set original_state = 'failed', original_reason = 'rejected', original_key = null",
    )
    .execute(&mut site.db().await)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_missing_files_of_a_conversation_are_fetched_by_who_sees_it() {
    let site = Site::new().await;
    let (aoi, ren) = (site.shop.user("Aoi"), site.shop.user("Ren"));
    for n in 0..3 {
        aoi.sends_file("plan.pdf", vec![n; 50]).await.unwrap();
    }
    site.run_jobs().await;
    let chat: Uuid = site.one("select id from conversation").await;
    ren.sends_file("other.pdf", vec![7; 50]).await.unwrap();
    site.run_jobs().await;
    let (media, again) = (
        format!("/conversations/{chat}/media?of=files"),
        format!("/conversations/{chat}/fetch"),
    );
    site.operator("mika", "operator", Some(&["shop"])).await;
    site.operator("ken", "operator", Some(&[])).await;
    let (mika, ken) = (site.visitor("mika").await, site.visitor("ken").await);
    assert!(!mika.page(&media).await.contains(&again), "none is missing");

    refuse_all(&site).await;
    let page = mika.page(&media).await;
    assert!(page.contains(&again) && page.contains("Fetch 3 missing files again"));
    assert_eq!(ken.post(&again, &[]).await.status(), StatusCode::NOT_FOUND);
    let sent_away = site.stranger().post(&again, &[]).await;
    assert_eq!(sent_away.headers()["location"], "/login?next=%2F");
    assert_eq!(site.one::<i64>("select count(*) from job").await, 0);

    let answer = mika.post(&again, &[]).await;
    let shown = answer.headers()["location"].to_str().unwrap().to_owned();
    let page = mika.page(&shown).await;
    assert!(page.contains("3 files are being fetched again"));
    assert!(!page.contains(&again));
    site.run_jobs().await;
    let kept = "select count(*) from attachment where original_state = 'kept'";
    assert_eq!(site.one::<i64>(kept).await, 3, "and nothing of another one");
}

#[tokio::test]
async fn the_missing_files_of_a_channel_and_a_period_are_fetched_again() {
    let site = Site::new().await;
    let desk = site.channel("desk").await;
    let (aoi, may) = (site.shop.user("Aoi"), desk.user("May"));
    aoi.sends_file("old.pdf", vec![1; 50]).await.unwrap();
    may.sends_file("desk.pdf", vec![2; 50]).await.unwrap();
    sqlx::query("update message set occurred_at = '2026-02-03T23:59:59Z'")
        .execute(&mut site.db().await)
        .await
        .unwrap();
    aoi.sends_file("new.pdf", vec![3; 50]).await.unwrap();
    site.run_jobs().await;
    site.operator("mika", "operator", Some(&["shop"])).await;
    site.operator("ken", "operator", Some(&[])).await;
    let (mika, ken) = (site.visitor("mika").await, site.visitor("ken").await);
    assert!(mika.page("/missing").await.contains("Nothing is missing"));

    refuse_all(&site).await;
    let page = mika.page("/missing").await;
    assert!(page.contains("2 files are missing") && !page.contains("1 file is missing"));
    assert!(ken.page("/missing").await.contains("Nothing is missing"));
    let id: i32 = site.one("select id from channel where slug = 'shop'").await;
    let id = id.to_string();
    let day = [
        ("channel", &*id),
        ("from", "2026-02-03"),
        ("to", "2026-02-03"),
    ];
    assert_eq!(
        ken.post("/missing", &day).await.status(),
        StatusCode::NOT_FOUND
    );
    let sent_away = site.stranger().post("/missing", &day).await;
    assert_eq!(sent_away.headers()["location"], "/login?next=%2F");
    for odd in ["yesterday", "2026-02-30", "262142-12-31"] {
        let answer = mika
            .post("/missing", &[("channel", &*id), ("from", odd), ("to", "")])
            .await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{odd}");
    }
    assert_eq!(site.one::<i64>("select count(*) from job").await, 0);

    let answer = mika.post("/missing", &day).await;
    assert_eq!(answer.headers()["location"], "/missing?asked=1");
    let page = mika.page("/missing?asked=1").await;
    assert!(page.contains("1 file is being fetched again") && page.contains("1 file is missing"));
    site.run_jobs().await;
    let kept = "select count(*) from attachment where original_state = 'kept'";
    assert_eq!(site.one::<i64>(kept).await, 1);
    let all = [("channel", &*id), ("from", ""), ("to", "")];
    let answer = mika.post("/missing", &all).await;
    assert_eq!(answer.headers()["location"], "/missing?asked=1");
    site.run_jobs().await;
    assert_eq!(
        site.one::<i64>(kept).await,
        2,
        "nothing of the other channel"
    );
}

#[tokio::test]
async fn the_page_of_missing_files_counts_those_that_wait_and_lists_conversations() {
    let site = Site::new().await;
    let (aoi, ren) = (site.shop.user("Aoi"), site.shop.user("Ren"));
    let crew = site.shop.group("Weekend crew", &[&aoi]);
    ren.sends_file("one.pdf", vec![7; 50]).await.unwrap();
    for n in 0..2 {
        let sent = crew.member(&aoi).sends_file("two.pdf", vec![n; 50]);
        sent.await.unwrap();
    }
    site.operator("mika", "operator", Some(&["shop"])).await;
    site.operator("ken", "operator", Some(&[])).await;
    let (mika, ken) = (site.visitor("mika").await, site.visitor("ken").await);
    let page = mika.page("/missing").await;
    assert!(page.contains("3 files are waiting") && !page.contains("Nothing is missing"));
    let empty = ken.page("/missing").await;
    assert!(empty.contains("Nothing is missing") && !empty.contains("waiting"));

    site.run_jobs().await;
    assert!(!mika.page("/missing").await.contains("waiting"));
    refuse_all(&site).await;
    let page = mika.page("/missing").await;
    let listed: Vec<Uuid> = between(&page, "<a href=\"/conversations/", "/media")
        .into_iter()
        .map(|id| id.parse().unwrap())
        .collect();
    let most_first =
        "select array_agg(id order by kind) from conversation where kind in ('group', 'user')
        and id in (select conversation_id from message)";
    assert_eq!(listed, site.one::<Vec<Uuid>>(most_first).await);
    assert!(page.contains(">Weekend crew<") && page.contains(">Ren<"));
    assert!(page.contains("2 files") && page.contains("1 file<"));
    assert!(!ken.page("/missing").await.contains("Ren"));
}

#[tokio::test]
async fn of_many_conversations_with_missing_files_fifty_are_listed() {
    let site = Site::new().await;
    for n in 0..53 {
        let one = site.shop.user(&format!("Person {n}"));
        one.sends_file("one.pdf", vec![7; 50]).await.unwrap();
    }
    refuse_all(&site).await;
    let page = site.admin().await.page("/missing").await;
    assert_eq!(
        between(&page, "<a href=\"/conversations/", "/media").len(),
        50
    );
    assert!(page.contains("3 more conversations"));
}

#[tokio::test]
async fn a_period_that_ends_before_it_begins_is_refused_and_days_have_a_time_zone() {
    let site = Site::new().await;
    site.shop
        .user("Aoi")
        .sends_file("one.pdf", vec![7; 50])
        .await
        .unwrap();
    refuse_all(&site).await;
    let mut admin = site.admin().await;
    let id: i32 = site.one("select id from channel").await;
    let period = [
        ("channel", &*id.to_string()),
        ("from", "2026-11-21"),
        ("to", "2026-11-20"),
    ];
    let answer = admin.post("/missing", &period).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let words = answer.text().await.unwrap();
    assert!(words.contains("ends before it begins") && words.contains("No file was asked for"));
    assert_eq!(site.one::<i64>("select count(*) from job").await, 0);

    assert!(admin.page("/missing").await.contains("time zone UTC"));
    let session = admin.cookie.take().unwrap();
    admin.cookie = Some(format!("{session}; zone=Asia/Tokyo"));
    assert!(
        admin
            .page("/missing")
            .await
            .contains("time zone Asia/Tokyo")
    );
}

#[tokio::test]
async fn a_missing_file_says_who_no_longer_has_it_and_what_a_click_does() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_file("plan.pdf", vec![7; 50]).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let chat: Uuid = site.one("select id from conversation").await;
    let set = async |what: &'static str| {
        sqlx::raw_sql(what)
            .execute(&mut site.db().await)
            .await
            .unwrap();
        admin.page(&format!("/conversations/{chat}")).await
    };
    let gone = "update attachment set original_state = 'gone', original_key = null";
    let page = set(gone).await;
    assert!(page.contains("LINE no longer has it") && page.contains(">Ask LINE again<"));
    assert!(!page.contains("on the server") && !page.contains("Try again"));
    let page = set("update attachment set provider = 'external'").await;
    assert!(page.contains("Its server no longer has it") && page.contains(">Ask again<"));
    assert!(!page.contains("LINE no longer has it"));
}
