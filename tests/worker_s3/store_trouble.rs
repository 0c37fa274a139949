//! Each kind of trouble that S3 can have, until it is over: files arrive complete, erased objects are deleted, nothing
//! is left behind, S3 gets few requests, and no log contains the secret key or a token.

use std::time::Duration;

use crate::{archive::Archive, healed::Log, seaweed::SECRET};

/// A text in the head of the requests that fail, and their status; 0 means that the connection is closed.
const TROUBLES: [(&str, u16); 14] = [
    ("PUT /", 500),
    ("PUT /", 503),
    ("PUT /", 403),
    ("PUT /", 429),
    ("PUT /", 0),
    ("POST /", 500),
    ("POST /", 503),
    ("POST /", 0),
    ("GET /", 500),
    ("GET /", 503),
    ("GET /", 0),
    ("DELETE /", 500),
    ("DELETE /", 503),
    ("DELETE /", 0),
];

/// How often each trouble happens: more often than a request is retried at once.
const TIMES: usize = 5;

/// Larger than one part of a multipart upload.
const LARGE: usize = 6 << 20;

#[tokio::test]
async fn whatever_trouble_s3_has_files_come_and_go_once_it_is_over() {
    for (of, status) in TROUBLES {
        let name = format!("{of} {status}");
        let log = Log::kept();
        let t = Archive::new().await;
        let aoi = t.shop.user("Aoi");
        let sent: Vec<u8> = (0..LARGE as u32).map(|n| (n % 251) as u8).collect();
        let large = t.receives(&aoi.sends_file("a", sent.clone()).make()).await;
        let small = t.receives(&aoi.sends_file("b", vec![8; 3000]).make()).await;
        let before = t.bucket.proxy.heads("").len();
        t.bucket.proxy.answers(of, status, TIMES);
        let kept = async || {
            for id in [large, small] {
                if t.states(id).await != "kept, none" {
                    return false;
                }
            }
            true
        };
        let mut rounds = 0;
        while !kept().await {
            rounds += 1;
            assert!(rounds < 40, "{name}");
            let _ = t.worker.run_until_idle().await;
            t.clock.advance(Duration::from_secs(60));
        }
        t.bucket.heals();
        assert_eq!(
            t.bytes(t.attachment(large).await.original_key()).await,
            sent,
            "{name}"
        );
        let asked = t.bucket.proxy.heads("").len() - before;
        assert!(asked < 150, "{name}: {asked} requests to keep two files");

        t.bucket.proxy.answers(of, status, TIMES);
        let erasure = t.unsends(large).await;
        rounds = 0;
        while t.objects_gone_at(erasure).await.is_none() {
            rounds += 1;
            assert!(rounds < 40, "{name}");
            let _ = t.worker.run_until_idle().await;
            t.clock.advance(Duration::from_secs(60));
        }
        t.bucket.heals();
        // Uploads that failed attempts left behind are deleted when their leases have ended.
        for _ in 0..3 {
            t.clock.advance(Duration::from_secs(3600));
            let _ = t.worker.run_until_idle().await;
        }
        assert_eq!(
            t.bucket.files().await,
            1,
            "{name}: {:?}",
            t.bucket.held().await
        );
        t.holds_only(1).await;
        let text = log.text();
        assert!(
            !text.is_empty() && !text.contains(SECRET) && !text.contains(&t.shop.access_token()),
            "{name}"
        );
        t.stop().await;
    }
}
