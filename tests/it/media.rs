//! Files from the webhook through the worker to the operator's browser, across restarts and unsends.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use line_chat_archive::fake_line::{Call, Event, Media, pictures};
use reqwest::{Method, header};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::harness::{T, run};
use crate::support::keys::{sealed_size, written_of};

/// Longer than any lease.
const PAST_THE_LEASE: Duration = Duration::from_secs(120);

/// Whether two pictures look alike: pictures of people and groups are scaled down and encoded again.
fn alike(served: &[u8], sent: &[u8]) -> anyhow::Result<bool> {
    let [served, sent] = [served, sent].map(image::load_from_memory);
    let [served, sent] =
        [served?, sent?].map(|picture| image::imageops::thumbnail(&picture.to_rgb8(), 8, 8));
    let difference = served
        .iter()
        .zip(sent.iter())
        .map(|(a, b)| u32::from(a.abs_diff(*b)))
        .sum::<u32>();
    Ok(difference < 8 * 8 * 3 * 4)
}

/// Yields to other tasks until `condition` holds.
async fn until(condition: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let waiting = async {
        while !condition().await? {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .context("it never came to be")?
}

/// The path at which the file of a message is served.
async fn address(t: &T, event: &Event) -> anyhow::Result<String> {
    let id: Uuid = sqlx::query_scalar(
        "select a.id from attachment a join message m on m.id = a.message_id where m.message_id = $1",
    )
    .bind(event.message_id())
    .fetch_one(t.pool())
    .await?;
    Ok(format!("/attachments/{id}"))
}

/// Checks that there are `objects` object rows, all `kept` and all in use, and as many files in the bucket.
async fn bucket_is_what_rows_say(t: &T, objects: usize) -> anyhow::Result<()> {
    let rows: Vec<String> = sqlx::query_scalar("select state from object")
        .fetch_all(t.pool())
        .await?;
    assert_eq!(rows, vec!["kept"; objects]);
    assert_eq!(t.objects()?.len(), objects);
    let used = "select count(*) from object where key in (
        select original_key from attachment union all select preview_key from attachment
        union all select picture_key from contact union all select picture_key from conversation)";
    let used: i64 = sqlx::query_scalar(used).fetch_one(t.pool()).await?;
    assert_eq!(used, i64::try_from(objects)?);
    Ok(())
}

#[tokio::test]
async fn files_of_every_kind_are_served_as_they_were_sent() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let picture = pictures::photo(1, 1200, 600);
        let elsewhere = pictures::photo(2, 900, 300);
        let [video, voice, plan] = [
            b"moving pictures".repeat(5_000),
            b"voice".repeat(900),
            b"%PDF-1.7 plan".to_vec(),
        ];
        let sent: Vec<(Event, Bytes)> = vec![
            (aoi.sends_image(picture.clone()).make(), picture),
            (
                aoi.sends_video(video.clone(), 61_000).preparing(2).make(),
                video.into(),
            ),
            (aoi.sends_audio(voice.clone(), 4_000).make(), voice.into()),
            (
                aoi.sends_file("見積書 final.pdf", plan.clone()).make(),
                plan.into(),
            ),
            (
                aoi.sends_external(Media::Image, &t.line.elsewhere(elsewhere.clone()), None)
                    .make(),
                elsewhere,
            ),
        ];
        let events: Vec<Event> = sent.iter().map(|(event, _)| event.clone()).collect();
        t.deliver(&events).await?;
        t.operator("mia", "compliance", None).await?;
        let mia = t.visitor("mia").await;
        for event in &events {
            assert_eq!(
                mia.status(&address(t, event).await?).await,
                404,
                "not fetched yet"
            );
        }

        t.run_jobs().await?;
        let clip = &events[1];
        assert_eq!(
            t.line.calls(Call::Content, clip.message_id()),
            1,
            "202 is no content"
        );
        // The worker may ask again, be answered `processing`, and ask once more.
        for _ in 0..2 {
            assert_eq!(mia.status(&address(t, clip).await?).await, 404);
            t.clock.advance(PAST_THE_LEASE);
            t.run_jobs().await?;
        }
        assert_eq!(t.line.calls(Call::Content, clip.message_id()), 2);

        for (event, bytes) in &sent {
            let path = address(t, event).await?;
            let answer = mia.get(&path).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
            assert!(answer.bytes().await? == bytes, "{path}");
            let part = mia
                .request(Method::GET, &path)
                .header(header::RANGE, "bytes=5-8")
                .send()
                .await?;
            assert_eq!(
                (part.status().as_u16(), part.bytes().await?),
                (206, bytes.slice(5..9))
            );
        }
        let file = mia.get(&address(t, &events[3]).await?).await;
        assert_eq!(
            file.headers()[header::CONTENT_DISPOSITION]
                .to_str()?
                .split("filename*=")
                .nth(1),
            Some("UTF-8''%E8%A6%8B%E7%A9%8D%E6%9B%B8%20final.pdf")
        );
        let preview = mia
            .get(&format!("{}/preview", address(t, &events[4]).await?))
            .await;
        let preview = image::load_from_memory(&preview.bytes().await?)?;
        assert_eq!(
            (preview.width(), preview.height()),
            (320, 107),
            "of what lay elsewhere"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn people_and_groups_have_their_pictures_and_a_new_one_replaces_the_old() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let crew = t.shop.group("Crew", &[&aoi]);
        let [face, later, crowd] = [1, 2, 3].map(|seed| pictures::photo(seed, 200, 200));
        aoi.sets_picture(face.clone());
        crew.pictured(crowd.clone());
        crew.member(&aoi).sends_text("hello").await?;
        t.run_jobs().await?;
        t.operator("mia", "compliance", None).await?;
        let mia = t.visitor("mia").await;
        let (contact, group): (Uuid, Uuid) =
            sqlx::query_as("select contact.id, conversation.id from contact, conversation")
                .fetch_one(t.pool())
                .await?;
        let (hers, its) = (
            format!("/contacts/{contact}/picture"),
            format!("/conversations/{group}/picture"),
        );
        assert!(alike(&mia.get(&hers).await.bytes().await?, &face)?);
        assert!(!alike(&face, &later)?, "two pictures");
        assert!(alike(&mia.get(&its).await.bytes().await?, &crowd)?);
        let page = mia.page(&format!("/conversations/{group}")).await;
        assert!(page.contains(&hers) && page.contains(&its));

        aoi.sets_picture(later.clone());
        t.clock.advance(Duration::from_secs(8 * 86_400));
        crew.member(&aoi).sends_text("a new picture").await?;
        t.run_jobs().await?;
        let later_request = mia.bare_request(Method::GET, &hers).send().await?;
        assert_eq!(later_request.status(), 401, "a session ends");
        let mia = t.visitor("mia").await;
        assert!(alike(&mia.get(&hers).await.bytes().await?, &later)?);
        t.clock.advance(PAST_THE_LEASE);
        t.run_jobs().await?;
        bucket_is_what_rows_say(t, 2).await
    })
    .await;
}

#[tokio::test]
async fn a_crash_between_the_bucket_and_the_row_leaves_one_object_for_one_row() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let plan = vec![7_u8; 200_000];
        let file = aoi.sends_file("plan.pdf", plan.clone()).await?;
        let gate = t.line.trouble(Call::Content).held_after(199_999);
        let worker = t.service.worker.clone();
        let doomed = tokio::spawn(async move { worker.run_until_idle().await });
        gate.reached().await;
        let written = |size| Ok(t.objects()?.iter().any(|file| file.len() == size));
        until(async || written(written_of(199_999))).await?;
        // Locks the attachment, so that the worker has to wait before it can write that the file is kept.
        let mut lock = t.pool().begin().await?;
        sqlx::query("select from attachment for update")
            .execute(&mut *lock)
            .await?;
        gate.open();
        until(async || {
            let waiting = "select count(*) from pg_locks where not granted and pid in (
                select pid from pg_stat_activity where datname = current_database())";
            Ok(t.count(waiting).await? > 0 && written(sealed_size(200_000))?)
        })
        .await?;
        doomed.abort();
        assert!(doomed.await.unwrap_err().is_cancelled());
        lock.rollback().await?;

        t.restart().await?;
        t.run_jobs().await?;
        assert_eq!(
            t.line.calls(Call::Content, file.message_id()),
            1,
            "the lease still runs"
        );
        // The first run notes the crash, the second one does the job again.
        for _ in 0..2 {
            t.clock.advance(PAST_THE_LEASE);
            t.run_jobs().await?;
        }
        bucket_is_what_rows_say(t, 1).await?;
        assert!(t.opened_objects().await? == [plan]);
        assert_eq!(t.count("select count(*) from job").await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_is_to_be_tried_again_is_tried_by_the_next_service_and_not_before_its_time() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        let [video, file] = [
            aoi.sends_video(&b"video"[..], 9).preparing(1).make(),
            aoi.sends_file("a", &b"a"[..]).make(),
        ];
        t.line
            .trouble(Call::Content)
            .of(file.message_id())
            .times(2)
            .answers(503);
        t.deliver(&[video.clone(), file.clone()]).await?;
        t.run_jobs().await?;
        let schedule = "select string_agg(kind || attempts || run_at, ',' order by id) from job";
        let before: String = sqlx::query_scalar(schedule).fetch_one(t.pool()).await?;
        let calls = t.line.all_calls(Call::Content);

        t.restart().await?;
        t.run_jobs().await?;
        let after: String = sqlx::query_scalar(schedule).fetch_one(t.pool()).await?;
        assert_eq!(after, before);
        assert_eq!(t.line.all_calls(Call::Content), calls);

        for _ in 0..3 {
            t.clock.advance(PAST_THE_LEASE);
            t.run_jobs().await?;
        }
        assert_eq!(t.line.calls(Call::Content, file.message_id()), 3);
        assert_eq!(
            t.count("select count(*) from attachment where original_state = 'kept'")
                .await?,
            2
        );
        assert_eq!(t.count("select count(*) from job").await?, 0);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_unsend_does_not_wait_for_the_download_and_the_download_leaves_nothing() {
    run(async |t| {
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        t.operator("mia", "compliance", None).await?;
        let mia = t.visitor("mia").await;
        for percent in [10, 50, 99] {
            let mark = format!("MARK-{percent}-PERCENT");
            let clip = [mark.as_bytes(), &vec![b'x'; 200_000 - mark.len()]].concat();
            let video = aoi.sends_video(clip, 9_000).await?;
            let gate = t.line.trouble(Call::Content).held_after(2_000 * percent);
            let worker = t.service.worker.clone();
            let working = tokio::spawn(async move { worker.run_until_idle().await });
            gate.reached().await;
            let written = written_of(2_000 * percent);
            until(async || Ok(t.objects()?.iter().any(|file| file.len() == written))).await?;
            let file = address(t, &video).await?;
            let preview = format!("{file}/preview");
            until(async || Ok(mia.status(&preview).await == 200)).await?;

            // The unsend is acknowledged while the download is held, and the pages do not wait for it either.
            aoi.unsends(&video).await?;
            assert_eq!(
                [mia.status(&file).await, mia.status(&preview).await],
                [404, 404]
            );
            gate.open();
            working.await??;
            t.clock.advance(PAST_THE_LEASE);
            t.run_jobs().await?;
            assert_eq!(t.traces(&mark).await?, [""; 0]);
            assert!(t.objects()?.is_empty());
            for left in ["select count(*) from job", "select count(*) from object"] {
                let rows: i64 = sqlx::query_scalar(AssertSqlSafe(left))
                    .fetch_one(t.pool())
                    .await?;
                assert_eq!(rows, 0, "{left}");
            }
        }
        let confirmed = "select count(*) from erasure where objects_gone_at is not null";
        assert_eq!(t.count(confirmed).await?, 3);
        Ok(())
    })
    .await;
}

/// The worker's waiting jobs, as `kind queue`, and the number of their flows.
async fn waiting_jobs(t: &T) -> anyhow::Result<(Vec<String>, i64)> {
    let jobs = sqlx::query_scalar("select kind || ' ' || queue from job order by 1")
        .fetch_all(t.pool())
        .await?;
    let flows = t.count("select count(distinct flow) from job").await?;
    Ok((jobs, flows))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_waits_in_a_queue_of_its_own_and_each_sender_has_turns_of_their_own() {
    run(async |t| {
        let (aoi, ken) = (t.shop.user("Aoi"), t.shop.user("Ken"));
        let elsewhere = t.line.elsewhere(&b"x"[..]);
        let group = t.shop.group("Crew", &[&aoi, &ken]);
        let photo = pictures::photo(1, 60, 40);
        t.deliver(&[
            aoi.sends_image(photo.clone()).make(),
            aoi.sends_video(&b"x"[..], 1).make(),
            aoi.sends_audio(&b"x"[..], 1).make(),
            aoi.sends_file("a.pdf", &b"x"[..]).make(),
            aoi.sends_external(Media::Image, &elsewhere, None).make(),
        ])
        .await?;
        let (jobs, flows) = waiting_jobs(t).await?;
        assert_eq!(
            jobs,
            [
                "original content",
                "original content",
                "original external",
                "original large",
                "original large",
                "preview external",
                "preview preview",
                "preview preview",
                "profile people",
            ]
        );
        assert_eq!(flows, 1, "all of one sender");
        // In a group too, a file belongs to its sender's flow; profiles and the summary belong to the group's flow.
        let in_group = group.member(&ken);
        t.deliver(&[
            in_group.sends_image(photo.clone()).make(),
            ken.sends_image(photo.clone()).make(),
        ])
        .await?;
        let sql = "select count(distinct flow) from job where kind = 'original'";
        assert_eq!(t.count(sql).await?, 2);
        let sql = "select count(distinct p.flow) from job p join job s on s.flow = p.flow
             where p.kind = 'profile' and s.kind = 'summary'";
        assert_eq!(t.count(sql).await?, 1);
        t.clock.advance(PAST_THE_LEASE);
        t.run_jobs().await
    })
    .await;
}
