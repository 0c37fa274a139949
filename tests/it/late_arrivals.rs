//! Messages and events that arrive long after they were sent: retention rules erase them as well, though their passes have
//! been over that time before.

use chrono::TimeDelta;

use crate::{
    causes::{operator, rule},
    harness::run,
};

#[tokio::test]
async fn what_arrives_a_year_late_is_erased_by_the_next_pass() {
    run(async |t| {
        let by = operator(t).await?;
        let aoi = t.shop.user("Aoi");
        aoi.sends_text("today").await?;
        rule(t, by, "any", 30, false).await?;
        t.run_jobs().await?;
        let passed = "select count(*) from retention_rule where done_before is not null";
        assert_eq!(t.count(passed).await?, 1);
        for late in [31, 400] {
            let at = (t.clock.now() - TimeDelta::days(late)).timestamp_millis();
            for event in [
                // The conversation is known: this one is written by the fast path.
                aoi.sends_text("late").dated(at).make(),
                aoi.sends_image(vec![7; 1000]).dated(at).make(),
                aoi.follows().dated(at).make(),
            ] {
                t.deliver(&[event]).await?;
                let kept = "select (select count(*) from message) + (select count(*) from event)";
                assert_eq!(t.count(kept).await?, 2, "{late}");
                t.run_jobs().await?;
                assert_eq!(t.count(kept).await?, 1, "{late}");
            }
        }
        assert_eq!(
            t.count(passed).await?,
            1,
            "and it does not search again and again"
        );
        Ok(())
    })
    .await;
}
