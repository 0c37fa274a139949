//! Exports for people with unusual files or messages: a problem in one export does not delay any other.

use std::time::Duration;

use line_chat_archive::{
    fake_line::{Event, pictures},
    records::subjects::RequestKind,
};

use crate::{
    causes::{DAY, chat, export, hold, lift, operator, settle, wish},
    harness::{T, run},
};

/// A bucket problem with one person's file must not delay the exports of other people.
#[tokio::test]
async fn an_export_that_cannot_be_made_now_keeps_no_other_waiting() {
    run(async |t| {
        let by = operator(t).await?;
        let (aoi, ken) = (t.shop.user("Aoi"), t.shop.user("Ken"));
        aoi.shows_no_picture();
        ken.shows_no_picture();
        aoi.sends_image(pictures::photo(7, 640, 480)).await?;
        ken.sends_text("hello").await?;
        t.run_jobs().await?;
        let file = original(t).await?;
        let bytes = std::fs::read(&file)?;
        std::fs::remove_file(&file)?;
        // A link to itself cannot be opened, and is not a damaged file.
        std::os::unix::fs::symlink(&file, &file)?;
        wish(t, by, aoi.id(), RequestKind::Export).await?;
        t.clock.advance(Duration::from_secs(1));
        wish(t, by, ken.id(), RequestKind::Export).await?;
        t.run_jobs().await?;
        t.run_jobs().await?; // nor is it tried again at once
        let said = "select count(*) from subject_request
            where export_state = 'asked' and export_failure = 'objects' and export_attempts = 1";
        assert_eq!(t.count(said).await?, 1, "it is said");
        let ready = "select count(*) from subject_request where export_state = 'ready'";
        assert_eq!(t.count(ready).await?, 1);
        std::fs::remove_file(&file)?;
        std::fs::write(&file, &bytes)?;
        settle(t).await?;
        t.run_jobs().await?;
        assert_eq!(t.count(ready).await?, 2);
        Ok(())
    })
    .await;
}

/// The path of the only original in the bucket.
pub async fn original(t: &T) -> anyhow::Result<std::path::PathBuf> {
    let key: String = sqlx::query_scalar("select original_key from attachment")
        .fetch_one(t.pool())
        .await?;
    Ok(t.home.path().join("objects").join(key))
}

/// If an export waited for a file that cannot be read any more, it would never be made, and the erasure that was
/// requested with it would never happen either.
#[tokio::test]
async fn a_file_that_cannot_be_read_any_more_is_named_in_the_export_and_keeps_nothing_from_being_erased()
 {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let photo = aoi.sends_image(pictures::photo(7, 640, 480)).await?;
        t.run_jobs().await?;
        let file = original(t).await?;
        let bytes = std::fs::read(&file)?;
        let name = format!("media/{}.jpg", photo.message_id());
        for broken in [
            Some(bytes[..bytes.len() / 2].to_vec()),
            Some([&bytes[..], b"x"].concat()),
            None,
        ] {
            match broken {
                Some(broken) => std::fs::write(&file, broken)?,
                None => std::fs::remove_file(&file)?,
            }
            wish(t, by, aoi.id(), RequestKind::Export).await?;
            settle(t).await?; // the worker looks for the file once more
            let files = export(t).await?;
            let (last, text) = files.last().unwrap();
            assert_eq!(last, "missing.txt");
            assert!(std::str::from_utf8(text)?.lines().any(|line| line == name));
            t.clock.advance(DAY * 8);
            settle(t).await?;
        }
        std::fs::write(&file, bytes)?;
        wish(t, by, aoi.id(), RequestKind::Erasure).await?;
        settle(t).await?;
        let erased = "select count(*) from subject_request where erased_at is not null";
        assert_eq!(t.count(erased).await?, 1);
        Ok(())
    })
    .await;
}

/// LINE's timestamps are milliseconds; anybody with the channel's secret can send any number of events in one of them.
#[tokio::test]
async fn more_than_a_page_at_one_moment_is_exported_and_erased_and_a_hold_on_it_stops_nothing_else()
{
    run(async |t| {
        let by = operator(t).await?;
        let (aoi, ken) = (t.shop.user("Aoi"), t.shop.user("Ken"));
        aoi.shows_no_picture();
        ken.shows_no_picture();
        let at_once = |n: usize| {
            t.line.at(t.clock.now());
            aoi.sends_text(&format!("MARK-{n:03}-")).make()
        };
        let many: Vec<Event> = (0..450).map(at_once).collect();
        t.deliver(&many).await?;
        ken.sends_text("KEN").await?;
        t.run_jobs().await?;
        wish(t, by, aoi.id(), RequestKind::Export).await?;
        t.run_jobs().await?;
        let files = export(t).await?;
        let text = std::str::from_utf8(&files[0].1)?;
        assert_eq!(text.matches("MARK-").count(), 450);

        let hold = hold(t, by, chat(t, aoi.id()).await?, true).await?;
        wish(t, by, aoi.id(), RequestKind::Erasure).await?;
        t.clock.advance(Duration::from_secs(1));
        wish(t, by, ken.id(), RequestKind::Erasure).await?;
        let done = tokio::time::timeout(Duration::from_secs(60), t.run_jobs()).await;
        done.expect("it comes to an end")?;
        let erased = "select count(*) from subject_request where erased_at is not null";
        assert_eq!(t.count(erased).await?, 1, "of the other");
        lift(t, by, hold).await?;
        settle(t).await?;
        assert_eq!(t.count(erased).await?, 2);
        assert_eq!(t.count("select count(*) from message").await?, 0);
        Ok(())
    })
    .await;
}
