//! Profiles and pictures of people and groups.

use std::time::Duration;

use image::GenericImageView;
use line_chat_archive::{
    fake_line::{Call, User, pictures::photo},
    line::client::Document,
    media::Reach,
    objects::ObjectKey,
    records::directory::PROFILE_MAX_AGE,
    seal::SealContext,
};
use uuid::Uuid;

use crate::archive::Archive;

impl Archive {
    async fn meets(&self, user: &User) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query("insert into contact (id, channel_id, user_id) values ($1, $2, $3)")
            .bind(id)
            .bind(self.channel_id)
            .bind(user.id())
            .execute(&self.pool)
            .await
            .unwrap();
        id
    }

    async fn converses(&self, kind: &str, source: &str, contact: Option<Uuid>) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into conversation (id, channel_id, kind, source_id, contact_id, last_at)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id)
        .bind(self.channel_id)
        .bind(kind)
        .bind(source)
        .bind(contact)
        .bind(self.clock.now())
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    async fn asks(&self, kind: &str, contact: Option<Uuid>, conversation: Option<Uuid>) {
        sqlx::query(
            "insert into job (kind, channel_id, contact_id, conversation_id, run_at)
             values ($1, $2, $3, $4, $5) on conflict do nothing",
        )
        .bind(kind)
        .bind(self.channel_id)
        .bind(contact)
        .bind(conversation)
        .bind(self.clock.now())
        .execute(&self.pool)
        .await
        .unwrap();
    }

    async fn name(&self, sql: &'static str, context: SealContext<'_>, id: Uuid) -> Option<String> {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar(sql)
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        Document::new(self.opened(context, &sealed?).await)?.display_name()
    }

    async fn profile(&self, contact: Uuid) -> (String, Option<String>) {
        (
            self.text("select profile_state from contact where id = $1", contact)
                .await,
            self.name(
                "select profile from contact where id = $1",
                SealContext::Profile(contact),
                contact,
            )
            .await,
        )
    }

    async fn picture(&self, contact: Uuid) -> image::DynamicImage {
        let key = self
            .text("select picture_key from contact where id = $1", contact)
            .await;
        let key = ObjectKey::parse(&key);
        image::load_from_memory(&self.bytes(key).await).unwrap()
    }
}

#[tokio::test]
async fn a_profile_is_asked_for_once_however_many_messages_wait_for_it() {
    let t = Archive::new().await;
    let aoi = t.shop.user("葵");
    aoi.sets_picture(photo(1, 800, 400));
    let contact = t.meets(&aoi).await;
    let conversation = t.converses("user", aoi.id(), Some(contact)).await;
    let mut pages = sqlx::postgres::PgListener::connect_with(&t.pool)
        .await
        .unwrap();
    pages.listen("archive").await.unwrap();
    for _ in 0..10 {
        t.asks("profile", Some(contact), Some(conversation)).await;
    }
    t.work().await;

    assert_eq!(
        t.profile(contact).await,
        ("known".into(), Some("葵".into()))
    );
    assert_eq!(t.line.calls(Call::Profile, aoi.id()), 1);
    assert_eq!(t.picture(contact).await.dimensions(), (256, 128));
    assert_eq!(t.jobs().await, 0);
    t.holds_only(1).await;
    assert_eq!(
        pages.recv().await.unwrap().payload(),
        conversation.to_string()
    );
}

#[tokio::test]
async fn another_picture_takes_the_place_of_the_first_and_no_picture_takes_it_away() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let contact = t.meets(&aoi).await;
    t.asks("profile", Some(contact), None).await;
    t.work().await;
    assert_eq!(t.picture(contact).await.dimensions(), (200, 200));

    t.clock.advance(PROFILE_MAX_AGE.to_std().unwrap());
    t.asks("profile", Some(contact), None).await;
    t.work().await;
    assert_eq!(
        t.line.all_calls(Call::Picture),
        1,
        "the same picture is not fetched again"
    );

    aoi.sets_picture(photo(1, 100, 50));
    t.asks("profile", Some(contact), None).await;
    t.work().await;
    assert_eq!(t.picture(contact).await.dimensions(), (100, 50));
    t.holds_only(1).await;

    aoi.shows_no_picture();
    t.asks("profile", Some(contact), None).await;
    t.work().await;
    t.holds_only(0).await;
    assert_eq!(
        t.count("select count(*) from contact where picture_key is not null")
            .await,
        0
    );
}

#[tokio::test]
async fn a_picture_that_is_taken_down_while_it_is_fetched_is_not_kept() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    aoi.sets_picture(photo(1, 400, 400));
    let contact = t.meets(&aoi).await;
    t.asks("profile", Some(contact), None).await;
    let gate = t.line.trouble(Call::Picture).held_after(10);
    let working = tokio::spawn({
        let worker = t.worker.clone();
        async move { worker.run_until_idle().await }
    });
    gate.reached().await;
    // The running job of the picture is not notified, because the contact had no picture before.
    sqlx::query("update contact set profile = $1")
        .bind(&b"{\"displayName\":\"Aoi\"}"[..])
        .execute(&t.pool)
        .await
        .unwrap();
    gate.open();
    working.await.unwrap().unwrap();
    t.work_on(2, Duration::from_secs(10)).await;
    assert_eq!(
        t.count("select count(*) from contact where picture_key is not null")
            .await,
        0
    );
    t.holds_only(0).await;
    assert_eq!(t.jobs().await, 0);
}

#[tokio::test]
async fn a_picture_that_changes_while_it_is_fetched_is_fetched_anew() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let contact = t.meets(&aoi).await;
    t.asks("profile", Some(contact), None).await;
    let gate = t.line.trouble(Call::Picture).held_after(10);
    let working = tokio::spawn({
        let worker = t.worker.clone();
        async move { worker.run_until_idle().await }
    });
    gate.reached().await;
    aoi.sets_picture(photo(1, 100, 50));
    t.asks("profile", Some(contact), None).await;
    let other = t.another_worker(Reach::Anywhere).await;
    other.run_until_idle().await.unwrap();
    gate.open();
    working.await.unwrap().unwrap();

    assert_eq!(t.picture(contact).await.dimensions(), (100, 50));
    t.holds_only(1).await;
}

#[tokio::test]
async fn that_line_knows_nothing_is_kept_and_a_name_known_before_stays() {
    let t = Archive::new().await;
    let (aoi, stranger) = (t.shop.user("Aoi"), t.shop.user("Ren"));
    stranger.withholds_consent();
    let (known, unknown) = (t.meets(&aoi).await, t.meets(&stranger).await);
    t.asks("profile", Some(known), None).await;
    t.asks("profile", Some(unknown), None).await;
    t.work().await;
    assert_eq!(t.profile(unknown).await, ("unknown".into(), None));
    t.clock.advance(Duration::from_secs(12 * 3600));
    sqlx::query("update job set attempts = 17")
        .execute(&t.pool)
        .await
        .unwrap();
    t.work().await;
    assert_eq!(t.profile(unknown).await, ("not_found".into(), None));
    let requested_at = t
        .text(
            "select profile_asked_at::text from contact where id = $1",
            unknown,
        )
        .await;
    assert!(
        requested_at.starts_with("2026-11-20 21:00:00"),
        "{requested_at}"
    );

    let _ = aoi.unfollows().make();
    t.asks("profile", Some(known), None).await;
    t.work_on(30, Duration::from_secs(1800)).await;
    assert_eq!(
        t.profile(known).await,
        ("not_found".into(), Some("Aoi".into()))
    );
    assert_eq!(t.jobs().await, 0);
}

#[tokio::test]
async fn members_are_asked_for_where_they_were_seen_and_elsewhere_if_unknown_there() {
    let t = Archive::new().await;
    let (aoi, ren) = (t.shop.user("Aoi"), t.shop.user("Ren"));
    let _ = aoi.unfollows().make();
    let crew = t.shop.group("Crew", &[&aoi]);
    let group = t.converses("group", crew.id(), None).await;
    let room = t.shop.room(&[&aoi]);
    let room = t.converses("room", room.id(), None).await;
    let (member, friend) = (t.meets(&aoi).await, t.meets(&ren).await);

    t.asks("profile", Some(member), Some(group)).await;
    t.work().await;
    assert_eq!(
        t.profile(member).await,
        ("known".into(), Some("Aoi".into()))
    );
    assert_eq!(t.line.calls(Call::Profile, aoi.id()), 0);
    t.asks("profile", Some(member), Some(room)).await;
    t.work().await;
    assert_eq!(t.line.calls(Call::Member, aoi.id()), 2);

    // Not (or no longer) a member of the group, but a friend.
    t.asks("profile", Some(friend), Some(group)).await;
    t.work().await;
    assert_eq!(
        t.profile(friend).await,
        ("known".into(), Some("Ren".into()))
    );
    assert_eq!(
        (
            t.line.calls(Call::Member, ren.id()),
            t.line.calls(Call::Profile, ren.id())
        ),
        (1, 1)
    );

    // Not a friend, but a member of a group.
    sqlx::query("insert into member values ($1, $2, true, now())")
        .bind(group)
        .bind(member)
        .execute(&t.pool)
        .await
        .unwrap();
    aoi.renames("Aoi B.");
    t.asks("profile", Some(member), None).await;
    t.work().await;
    assert_eq!(
        t.profile(member).await,
        ("known".into(), Some("Aoi B.".into()))
    );
    assert_eq!(t.line.calls(Call::Profile, aoi.id()), 1);
}

#[tokio::test]
async fn a_group_has_a_name_and_a_picture() {
    let t = Archive::new().await;
    let crew = t.shop.group("週末", &[]);
    crew.pictured(photo(1, 300, 300));
    let group = t.converses("group", crew.id(), None).await;
    t.asks("summary", None, Some(group)).await;
    t.work().await;
    let name = t
        .name(
            "select summary from conversation where id = $1",
            SealContext::Summary(group),
            group,
        )
        .await;
    assert_eq!(name.as_deref(), Some("週末"));
    assert_eq!(
        t.text("select picture_type from conversation where id = $1", group)
            .await,
        "image/jpeg"
    );
    t.holds_only(1).await;
}

#[tokio::test]
async fn trouble_is_tried_again_and_then_left_to_the_next_message() {
    let t = Archive::new().await;
    let contact = t.meets(&t.shop.user("Aoi")).await;
    t.line.trouble(Call::Profile).always().answers(500);
    t.asks("profile", Some(contact), None).await;
    t.work().await;
    let attempts = "select coalesce(max(attempts), 0)::bigint from job";
    let mut counted = 0;
    for _ in 0..30 {
        t.work_on(1, Duration::from_secs(3600)).await;
        // Tries that are pulled forward do not count.
        counted = counted.max(t.count(attempts).await);
    }
    assert_eq!(counted, 17, "the 18th is the last one");
    let asked = t.line.all_calls(Call::Profile);
    assert!((18..=30).contains(&asked), "{asked} requests");
    assert_eq!(t.profile(contact).await, ("unknown".into(), None));
    assert_eq!(t.jobs().await, 0);
}

#[tokio::test]
async fn a_picture_that_the_bucket_has_lost_is_fetched_again() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    aoi.sets_picture(photo(1, 800, 400));
    let contact = t.meets(&aoi).await;
    for seed in 2..4 {
        t.receives(&aoi.sends_file("a", vec![seed; 9]).make()).await;
    }
    t.asks("profile", Some(contact), None).await;
    t.work().await;
    let picture = "select coalesce(picture_key, '') from contact where id = $1";
    let key = ObjectKey::parse(&t.text(picture, contact).await).unwrap();
    t.objects.purge(key).await.unwrap();

    assert_eq!(t.worker.compare().await.unwrap().missing, 1);
    assert_eq!(t.text(picture, contact).await, "");
    t.work().await;
    assert_eq!(t.picture(contact).await.dimensions(), (256, 128));
    t.holds_only(3).await;
}

#[tokio::test]
async fn a_picture_that_is_not_on_a_host_of_lines_is_not_fetched() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let contact = t.meets(&aoi).await;
    t.asks("profile", Some(contact), None).await;
    let guarded = t.another_worker(Reach::Guarded).await;
    guarded.run_until_idle().await.unwrap();

    assert_eq!(t.profile(contact).await.1, Some("Aoi".into()));
    assert_eq!(t.line.all_calls(Call::Picture), 0);
    assert_eq!(t.jobs().await, 0, "nothing is tried again");
    t.holds_only(0).await;
}

#[tokio::test]
async fn a_page_in_place_of_a_picture_is_not_the_picture() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    aoi.sets_picture(photo(1, 800, 400));
    let contact = t.meets(&aoi).await;
    t.line
        .trouble(Call::Picture)
        .times(3)
        .replaced_by("text/html", "<!doctype html><title>Sign in</title>");
    t.line
        .trouble(Call::Picture)
        .encoded_as("gzip", &b"\x1f\x8b\x08"[..]);
    t.asks("profile", Some(contact), None).await;
    t.work().await;
    t.work_on(4, Duration::from_secs(120)).await;
    assert_eq!(t.picture(contact).await.dimensions(), (256, 128));
}
