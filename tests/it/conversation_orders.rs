//! Orders to erase whole conversations: they survive the process that got them, and a hold stops them.

use std::time::Duration;

use line_chat_archive::{
    erasure::order::Orders,
    records::orders::{self, End, NewOrder},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    causes::{hold, operator},
    harness::{T, run},
};

/// Messages of the conversation: three batches.
const MESSAGES: usize = 450;

/// A conversation, an order to erase it, and the first batch of that, after which the process ends.
async fn begun(t: &mut T, by: Uuid) -> anyhow::Result<(Uuid, Uuid)> {
    let aoi = t.shop.user("Aoi");
    let texts: Vec<_> = (0..MESSAGES)
        .map(|n| aoi.sends_text(&format!("MARK {n}")).make())
        .collect();
    for texts in texts.chunks(50) {
        t.deliver(texts).await?;
    }
    t.run_jobs().await?;
    let mut conn = t.pool().acquire().await?;
    let conversation: Uuid = sqlx::query_scalar("select id from conversation")
        .fetch_one(&mut *conn)
        .await?;
    let new = NewOrder {
        channel_id: 1,
        conversation_id: conversation,
        operator_id: by,
        reason: "unlawful",
    };
    let order = orders::insert(&mut conn, new, t.clock.now()).await?;
    assert_eq!(
        orders::insert(&mut conn, new, t.clock.now()).await?,
        order,
        "ordered twice"
    );
    drop(conn);
    let stopped = CancellationToken::new();
    stopped.cancel();
    let erasing = Orders::new(t.pool().clone(), t.clock.clone());
    let erased = erasing.carry_out(order, Duration::ZERO, &stopped).await?;
    assert!(0 < erased && erased < MESSAGES, "{erased}");
    t.restart().await?;
    Ok((conversation, order))
}

async fn left(t: &T) -> anyhow::Result<i64> {
    t.count("select count(*) from message").await
}

#[tokio::test]
async fn an_order_that_was_cut_off_is_carried_out_to_its_end() {
    run(async |t| {
        let by = operator(t).await?;
        let (conversation, order) = begun(t, by).await?;
        let mut conn = t.pool().acquire().await?;
        let open = orders::find(&mut conn, conversation).await?;
        assert!(open.is_some_and(|order| order.erased > 0));
        t.clock.advance(Duration::from_secs(1));
        t.shop.user("Aoi").sends_text("LATER").await?;
        t.run_jobs().await?;
        assert_eq!(left(t).await?, 1, "what came after the order stays");
        assert_eq!(orders::outcome(&mut conn, order).await?, Some(End::Done));
        assert!(orders::find(&mut conn, conversation).await?.is_none());
        let erased = t.count("select erased from conversation_order").await?;
        assert_eq!(usize::try_from(erased)?, MESSAGES);
        assert_eq!(t.traces("MARK").await?, [""; 0]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_hold_ends_an_order_that_goes_on() {
    run(async |t| {
        let by = operator(t).await?;
        let (conversation, order) = begun(t, by).await?;
        hold(t, by, conversation, false).await?;
        let before = left(t).await?;
        t.run_jobs().await?;
        assert_eq!(left(t).await?, before);
        let mut conn = t.pool().acquire().await?;
        assert_eq!(orders::outcome(&mut conn, order).await?, Some(End::Held));
        Ok(())
    })
    .await;
}

/// Two processes work on one order at the same time: nothing is erased twice, and both end.
#[tokio::test]
async fn two_processes_share_an_order() {
    run(async |t| {
        let by = operator(t).await?;
        let (_, order) = begun(t, by).await?;
        let never = CancellationToken::new();
        let both = [0; 2].map(|_| Orders::new(t.pool().clone(), t.clock.clone()));
        let [one, other] = &both;
        let (one, other) = tokio::try_join!(
            one.carry_out(order, Duration::ZERO, &never),
            other.carry_out(order, Duration::ZERO, &never)
        )?;
        assert!(one + other > 0);
        t.run_jobs().await?;
        assert_eq!(left(t).await?, 0);
        let erasures = t.count("select count(*) from erasure").await?;
        assert_eq!(usize::try_from(erasures)?, MESSAGES);
        Ok(())
    })
    .await;
}
