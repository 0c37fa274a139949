//! Five hundred messages of all kinds are unsent, and every byte that the service has written is searched for them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use line_chat_archive::{fake_line::Event, seal::Cipher};

use crate::{
    residue::{Report, Residue},
    scene::Scene,
    world::{World, log},
};

/// Fails if a mark of `numbers` was found, and says where.
fn assert_no_residue(report: &Report, numbers: &[usize], what: &str) {
    let finds: Vec<_> = report
        .found
        .iter()
        .filter(|find| numbers.contains(&find.mark))
        .collect();
    let mut places = BTreeMap::<_, usize>::new();
    for find in &finds {
        *places.entry((&find.path, find.form)).or_default() += 1;
    }
    let first: Vec<String> = finds.iter().take(20).map(ToString::to_string).collect();
    assert!(
        finds.is_empty(),
        "{what}: found {} times, in {places:#?}\n{}",
        finds.len(),
        first.join("\n")
    );
}

/// How many of `numbers` were found, in any form.
fn seen(report: &Report, numbers: &[usize]) -> usize {
    let marks = report.marks();
    numbers
        .iter()
        .filter(|number| marks.binary_search(number).is_ok())
        .count()
}

/// Sends the scene, fetches its files and names, unsends the messages to forget, and runs the sweep twice.
async fn play(world: &World) -> anyhow::Result<Scene> {
    let scene = Scene::new(world);
    assert!(scene.unsent.len() >= 500);
    world.deliver(&scene.sent).await?;
    world.run_jobs().await?;
    let kept: i64 = sqlx::query_scalar("select count(*) from object where state = 'kept'")
        .fetch_one(&world.service.pool)
        .await?;
    assert!(kept > 300, "files were fetched: {kept}");

    let unsends: Vec<Event> = scene
        .unsent
        .iter()
        .map(|(user, event)| user.unsends(event).make())
        .collect();
    world.deliver(&unsends).await?;
    world.run_jobs().await?;
    world.clock.advance(Duration::from_secs(3600));
    world.run_jobs().await?;
    Ok(scene)
}

/// Searches everything that was written: the database with its write-ahead log and its server's log, objects, keyring,
/// temporary files next to the objects, and the log of this process.
fn search(world: &World, residue: &Residue) -> Report {
    let begun = std::time::Instant::now();
    let report = residue
        .search(&[world.data_dir(), log().as_path()])
        .expect("a search");
    let (bytes, took) = (report.bytes >> 20, begun.elapsed());
    eprintln!("{bytes} MB in {took:?}, {} finds", report.found.len());
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_hundred_unsent_messages_no_byte_is_found_and_of_those_that_live_none_is_in_the_clear()
 {
    let world = World::new(Cipher::Sealed).await.expect("a world");
    let scene = play(&world).await.expect("a scene");
    let residue = Residue::new(&scene.marks);
    let report = search(&world, &residue);
    assert_no_residue(&report, &scene.to_forget, "unsent");
    assert_no_residue(&report, &scene.to_keep, "living");
    assert_no_residue(&report, &scene.names, "names");
    world.stop().await.expect("an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsealed_all_that_lives_is_seen_and_outside_the_database_nothing_that_was_unsent() {
    let world = World::new(Cipher::Null).await.expect("a world");
    let scene = play(&world).await.expect("a scene");
    let residue = Residue::new(&scene.marks);
    let report = search(&world, &residue);
    assert_eq!(seen(&report, &scene.to_keep), scene.to_keep.len());
    assert_eq!(seen(&report, &scene.names), scene.names.len());
    let left = seen(&report, &scene.to_forget);
    assert!(left > 0, "what deleted rows leave behind is seen");

    let places = world.outside_the_database();
    let places: Vec<&Path> = places.iter().map(|place| &**place).collect();
    let outside = residue.search(&places).expect("a search");
    assert_no_residue(&outside, &scene.to_forget, "outside of the database");
    world.stop().await.expect("an end");
}
