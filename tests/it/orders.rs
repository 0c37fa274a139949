//! Every order in which a photo and its unsend can be processed, with a crash at each point: nothing of the photo is
//! left.
//!
//! By default the test tries a part of the orders. To try all: `EVERY_ORDER=1 cargo test --test it orders`.

use std::time::Duration;

use line_chat_archive::fake_line::{Event, User};

use crate::harness::{T, run};

const MINUTE: Duration = Duration::from_secs(61);

/// The steps of one photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// LINE delivers its message.
    Message,
    /// LINE delivers its unsend.
    Unsend,
    /// LINE delivers its message again.
    Again,
    /// The worker is killed in the middle of a job.
    Killed,
    /// The worker does the due jobs.
    Works,
    /// A minute passes, and the worker does the due jobs.
    Minute,
}

use Step::{Again, Killed, Message, Minute, Unsend, Works};

const STEPS: [Step; 6] = [Message, Unsend, Again, Killed, Works, Minute];

/// All orders of the steps.
fn orders() -> Vec<Vec<Step>> {
    fn extend(order: &mut Vec<Step>, all: &mut Vec<Vec<Step>>) {
        if order.len() == STEPS.len() {
            all.push(order.clone());
            return;
        }
        for step in STEPS {
            if !order.contains(&step) {
                order.push(step);
                extend(order, all);
                order.pop();
            }
        }
    }
    let mut all = vec![];
    extend(&mut vec![], &mut all);
    all
}

async fn take(t: &T, step: Step, photo: &Event, unsend: &Event, nth: usize) -> anyhow::Result<()> {
    match step {
        Message => t.deliver(std::slice::from_ref(photo)).await?,
        Unsend => t.deliver(std::slice::from_ref(unsend)).await?,
        Again => drop(t.shop.redeliver(photo).await),
        Killed => {
            let worker = t.service.worker.clone();
            let doomed = tokio::spawn(async move { worker.run_until_idle().await });
            // At a different point for each case: before the claim, in a download, between bucket and row, …
            for _ in 0..nth * 7 % 400 {
                tokio::task::yield_now().await;
            }
            doomed.abort();
            let _ = doomed.await;
        }
        Works => drop(t.service.worker.run_until_idle().await?),
        Minute => {
            t.clock.advance(MINUTE);
            t.service.worker.run_until_idle().await?;
        }
    }
    Ok(())
}

async fn nothing_is_left(t: &T, case: &str, photo: &Event) -> anyhow::Result<()> {
    for _ in 0..4 {
        t.clock.advance(2 * MINUTE);
        t.service.worker.run_until_idle().await?;
    }
    let left: Vec<(String, i64)> = sqlx::query_as(
        "select 'messages', count(*) from message where message_id = $1
         union all select 'revisions', count(*) from revision
         union all select 'attachments', count(*) from attachment
         union all select 'objects', count(*) from object
         union all select 'jobs', count(*) from job
         union all select 'keys to go', count(*) from erasure_key
         union all select 'open erasures', count(*) from erasure where objects_gone_at is null or keys_gone_at is null
         union all select 'erasures but one', count(*) - 1 from erasure where message_id = $1",
    )
    .bind(photo.message_id())
    .fetch_all(t.pool())
    .await?;
    let left: Vec<_> = left.into_iter().filter(|(_, count)| *count != 0).collect();
    anyhow::ensure!(left.is_empty(), "{case}: {left:?}");
    anyhow::ensure!(t.objects()?.is_empty(), "{case}: files");
    Ok(())
}

#[tokio::test]
async fn in_whatever_order_and_wherever_it_crashes_nothing_unsent_is_left() {
    run(async |t| {
        let aoi: User = t.shop.user("Aoi");
        aoi.shows_no_picture();
        let every = std::env::var_os("EVERY_ORDER").is_some();
        let orders = orders();
        let stride = if every { 1 } else { 29 };
        let cases = (0..orders.len() * (STEPS.len() + 1)).step_by(stride);
        let mut tried = 0;
        for nth in cases {
            let order = &orders[nth / (STEPS.len() + 1)];
            // An index after the last step means: no crash.
            let crash = nth % (STEPS.len() + 1);
            let photo = aoi.sends_image(vec![7; 70_000]).make();
            let unsend = aoi.unsends(&photo).make();
            for (at, step) in order.iter().enumerate() {
                if at == crash {
                    t.restart().await?;
                }
                take(t, *step, &photo, &unsend, nth).await?;
            }
            let case = format!("{order:?}, crash before step {crash}");
            nothing_is_left(t, &case, &photo).await?;
            tried += 1;
        }
        assert!(tried >= 170, "{tried} orders");
        Ok(())
    })
    .await;
}
