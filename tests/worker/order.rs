//! The order in which LINE is asked for a backlog of files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use line_chat_archive::fake_line::{Call, pictures::photo};
use tokio_util::sync::CancellationToken;

use crate::archive::{Archive, until};

const SENDERS: usize = 6;
const FILES: usize = 240;

/// Receives voice messages or videos, one after the other from each sender. Returns LINE's ids, the oldest first.
async fn receive_backlog(t: &Archive, with_preview: bool) -> Vec<String> {
    let senders: Vec<_> = (0..SENDERS)
        .map(|n| t.shop.user(&format!("sender {n}")))
        .collect();
    let mut events = vec![];
    for n in 0..FILES {
        let sender = &senders[n % SENDERS];
        events.push(match with_preview {
            false => sender.sends_audio(vec![1; 64], 900).make(),
            true => {
                let video = sender.sends_video(vec![1; 64], 900);
                video.previewed_by(photo(n as u64, 9, 9)).make()
            }
        });
    }
    t.deliver(&events).await.unwrap();
    sqlx::query("delete from job where attachment_id is null")
        .execute(&t.pool)
        .await
        .unwrap();
    let ids = events.iter().map(|event| event.message_id().to_owned());
    ids.collect()
}

/// The numbers of the files in the order of the requests: 0 is the oldest file.
fn asked(t: &Archive, call: Call, ids: &[String]) -> Vec<usize> {
    let numbers: HashMap<_, _> = ids.iter().zip(0..).collect();
    let made = t.line.calls_in_order().into_iter();
    let of_call = made.filter(|(made, _)| *made == call);
    of_call.map(|(_, id)| numbers[&id]).collect()
}

/// Spearman's rank correlation of an order with "newest first": 1 if they are equal, -1 for "oldest first".
fn newest_first(order: &[usize]) -> f64 {
    let sorted: BTreeSet<_> = order.iter().collect();
    let rank: BTreeMap<_, _> = sorted.iter().rev().zip(0_i32..).collect();
    let squares: f64 = order
        .iter()
        .zip(0_i32..)
        .map(|(file, at)| f64::from(rank[&file] - at).powi(2))
        .sum();
    let n = order.len() as f64;
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

#[tokio::test]
async fn of_four_slots_three_ask_for_the_newest_of_each_sender_in_turn_and_one_for_the_oldest() {
    let t = Archive::new().await;
    let ids = receive_backlog(&t, false).await;
    t.work().await;
    let order = asked(&t, Call::Content, &ids);
    assert_eq!(order.len(), FILES);

    let mut left: BTreeSet<usize> = (0..FILES).collect();
    // The worker claims four, and the next four when these have ended.
    for round in order.chunks(4) {
        if left.len() <= 100 {
            break; // a sender may have one file left, which is the oldest and the newest
        }
        let mut round: BTreeSet<usize> = round.iter().copied().collect();
        let oldest = *left.first().unwrap();
        assert!(round.remove(&oldest), "{round:?}: {oldest}");
        left.remove(&oldest);
        let senders: BTreeSet<_> = round.iter().map(|file| file % SENDERS).collect();
        assert_eq!(senders.len(), 3, "they take turns");
        for file in round {
            let of_sender = |other: &&usize| *other % SENDERS == file % SENDERS;
            let newest = left.iter().rfind(of_sender);
            assert_eq!(newest, Some(&file));
            left.remove(&file);
        }
    }
    let all = newest_first(&order);
    assert!((0.4..0.6).contains(&all), "{all}");
}

#[tokio::test]
async fn previews_do_not_wait_for_originals() {
    let t = Archive::new().await;
    let ids = receive_backlog(&t, true).await;
    let gate = t.line.trouble(Call::Content).always().held_after(0);
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let (worker, stop) = (t.worker.clone(), stop.clone());
        async move { worker.run(stop).await }
    });
    until(async || t.line.all_calls(Call::Preview) == FILES).await;
    assert_eq!(t.line.all_calls(Call::Content), 4);
    let all = newest_first(&asked(&t, Call::Preview, &ids));
    assert!((0.4..0.6).contains(&all), "{all}");
    gate.open();
    stop.cancel();
    working.await.unwrap();
}

#[tokio::test]
async fn more_than_half_of_the_previews_come_first_though_originals_are_as_small() {
    let t = Archive::new().await;
    let ids = receive_backlog(&t, true).await;
    t.work().await;
    let made = t.line.calls_in_order();
    let at = |call: Call, id: &String| {
        let found = made.iter().position(|(made, of)| *made == call && of == id);
        found.unwrap()
    };
    let behind = |id: &&String| at(Call::Preview, id) > at(Call::Content, id);
    let behind = ids.iter().filter(behind).count();
    assert!(
        behind < FILES / 2,
        "{behind} previews after their originals"
    );
}
