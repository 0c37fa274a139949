//! The erasures as compliance staff see them, and the receipts that they hand out.

use std::time::Duration;

use line_chat_archive::ledger::{Verdict, receipt};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::site::{Site, between};

fn rows(page: &str) -> usize {
    between(page, r#"<tr id="e-"#, "\"").len()
}

async fn first(site: &Site) -> Uuid {
    site.one("select id from erasure order by id limit 1").await
}

#[tokio::test]
async fn erasures_are_found_by_channel_cause_state_and_period() {
    let site = Site::new().await;
    let other = site.channel("other").await;
    let (aoi, ben) = (site.shop.user("Aoi"), other.user("Ben"));
    for n in 0..3 {
        let text = aoi.sends_text(&format!("text {n}")).await.unwrap();
        aoi.unsends(&text).await.unwrap();
    }
    let photo = ben.sends_image(vec![7; 900]).await.unwrap();
    site.run_jobs().await;
    site.clock.advance(Duration::from_secs(61));
    site.run_jobs().await;
    ben.unsends(&photo).await.unwrap();
    let admin = site.admin().await;
    for (query, count) in [
        ("", 4),
        ("?channel=shop", 3),
        ("?channel=other", 1),
        ("?cause=unsend", 4),
        ("?cause=retention", 0),
        ("?state=gone", 3),
        ("?state=pending", 1),
        ("?state=overdue", 0),
        ("?from=2026-11-20&to=2026-11-20", 4),
        ("?from=2026-11-21", 0),
        ("?to=2026-11-19", 0),
    ] {
        let page = admin.page(&format!("/erasures{query}")).await;
        assert_eq!(rows(&page), count, "{query}");
        let csv = admin.page(&format!("/erasures.csv{query}")).await;
        assert_eq!(csv.lines().count(), count + 1, "{query}");
    }
    assert_eq!(admin.status("/erasures?channel=none").await, 404);

    // Nothing finishes the erasure, because the worker does not run.
    site.clock.advance(Duration::from_secs(16 * 60));
    let page = admin.page("/erasures").await;
    assert!(page.contains("Overdue: not confirmed gone"));
    assert_eq!(rows(&page), 5, "above the list, and in it");
    assert_eq!(rows(&admin.page("/erasures?state=overdue").await), 1);
}

#[tokio::test]
async fn one_erasure_has_a_timeline_and_receipts_that_are_checked_elsewhere() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let photo = aoi.sends_image(vec![7; 900]).await.unwrap();
    site.run_jobs().await;
    aoi.unsends(&photo).await.unwrap();
    let admin = site.admin().await;
    let id = first(&site).await;
    let page = admin.page(&format!("/erasures/{id}")).await;
    assert!(page.contains("The ledger has no record of it yet."));
    assert_eq!(
        between(&page, r#"<li class="open""#, "<").len(),
        2,
        "files and keys"
    );

    site.clock.advance(Duration::from_secs(61));
    site.run_jobs().await;
    site.clock.advance(Duration::from_secs(61));
    site.run_jobs().await;
    site.service.ledger_signer.append_and_sign().await.unwrap();
    let page = admin.page(&format!("/erasures/{id}")).await;
    assert_eq!(between(&page, r#"<li class="done""#, "<").len(), 4);
    let links = between(&page, "<a href=\"/erasures/", "\"");
    let receipts: Vec<_> = links
        .iter()
        .filter(|link| link.contains("receipt"))
        .collect();
    assert_eq!(receipts.len(), 3);
    let key = between(&page, r#"<code class="key">"#, "<")[0].to_owned();
    for link in receipts {
        let text = admin.page(&format!("/erasures/{link}")).await;
        assert!(matches!(
            receipt::verify(&text, Some(&key)),
            Verdict::Sound {
                size: 3,
                records: 1,
                ..
            }
        ));
        let forged = text.replace("unsend", "subject");
        assert!(matches!(
            receipt::verify(&forged, Some(&key)),
            Verdict::Tampered { .. }
        ));
    }
}

#[tokio::test]
async fn an_erasure_is_shown_to_compliance_staff_of_its_channel_alone() {
    let site = Site::new().await;
    site.channel("other").await;
    let aoi = site.shop.user("Aoi");
    let text = aoi.sends_text("text").await.unwrap();
    aoi.unsends(&text).await.unwrap();
    site.service.ledger_signer.append_and_sign().await.unwrap();
    let id = first(&site).await;
    site.operator("op", "operator", None).await;
    site.operator("audit", "compliance", Some(&["shop"])).await;
    site.operator("elsewhere", "compliance", Some(&["other"]))
        .await;
    let paths = [
        format!("/erasures/{id}"),
        format!("/erasures/{id}/receipt?record=0"),
    ];
    for path in &paths {
        for (login, status) in [("op", 403), ("audit", 200), ("elsewhere", 404)] {
            let answer = site.visitor(login).await.get(path).await;
            assert_eq!(answer.status().as_u16(), status, "{login} {path}");
        }
        let stranger = site.stranger().get(path).await;
        assert_eq!(stranger.status(), StatusCode::SEE_OTHER, "{path}");
    }
    let nobody = format!("/erasures/{}", Uuid::nil());
    assert_eq!(site.visitor("audit").await.status(&nobody).await, 404);
    let csv = site.visitor("elsewhere").await.page("/erasures.csv").await;
    assert_eq!(csv.lines().count(), 1, "the heading alone");
}
