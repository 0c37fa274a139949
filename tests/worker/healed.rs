//! Each kind of trouble that LINE can have, until it is over: the file arrives complete, LINE gets few requests, and no
//! log contains a token.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use line_chat_archive::{
    fake_line::{Call, FakeLine, pictures::photo},
    telemetry,
};

use crate::archive::Archive;

const MINUTE: Duration = Duration::from_secs(60);

/// How often each trouble happens.
const TIMES: usize = 3;

type Trouble = (&'static str, fn(&FakeLine));

fn answers<const STATUS: u16>(line: &FakeLine) {
    line.trouble(Call::Content).times(TIMES).answers(STATUS);
}

/// Sixteen kinds. A refused token has its own test, because somebody has to set another one.
const TROUBLES: [Trouble; 16] = [
    ("500", answers::<500>),
    ("502", answers::<502>),
    ("503", answers::<503>),
    ("504", answers::<504>),
    ("a redirect", answers::<302>),
    ("204", answers::<204>),
    ("not ready", answers::<202>),
    ("its own timeout", answers::<408>),
    ("a bad request", answers::<400>),
    ("forbidden", answers::<403>),
    ("gone", answers::<410>),
    ("not found", answers::<404>),
    ("too many requests", answers::<429>),
    ("no answer", |line| {
        line.trouble(Call::Content).times(TIMES).hangs_up();
    }),
    ("cut off", |line| {
        line.trouble(Call::Content).times(TIMES).cut_after(70_000);
    }),
    ("more announced than comes", |line| {
        line.trouble(Call::Content)
            .times(TIMES)
            .with_content_length(200_001);
    }),
];

/// Everything that this process logs after the first use, at a far more detailed level than a service uses.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The log of the process. A subscriber for one thread would race with the tests on other threads.
    pub(crate) fn kept() -> &'static Self {
        static LOG: LazyLock<Log> = LazyLock::new(|| {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter("trace")
                .with_ansi(false)
                .with_writer(move || writer.clone());
            telemetry::subscribe(subscriber.finish());
            log
        });
        &LOG
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn whatever_trouble_line_has_the_file_comes_once_it_is_over() {
    for (name, trouble) in TROUBLES {
        let log = Log::kept();
        let t = Archive::new().await;
        let sent: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let file = t.shop.user("Aoi").sends_file("a", sent.clone()).make();
        let id = t.receives(&file).await;
        trouble(&t.line);
        let mut rounds = 0;
        while t.states(id).await != "kept, none" {
            rounds += 1;
            assert!(rounds < 40, "{name}: {}", t.states(id).await);
            t.work().await;
            t.clock.advance(Duration::from_secs(20));
        }
        assert_eq!(
            t.bytes(t.attachment(id).await.original_key()).await,
            sent,
            "{name}"
        );
        // After an answer that was cut off the worker also requests the rest, so a trouble can cost two requests.
        let calls = t.line.calls(Call::Content, file.message_id());
        assert!(calls <= 2 * TIMES + 1, "{name}: {calls} questions");
        t.holds_only(1).await;
        let (text, token) = (log.text(), t.shop.access_token());
        assert!(!text.is_empty() && !text.contains(&token), "{name}");
        assert!(!text.contains(&token[..20]), "{name}: a part of it");
        t.stop().await;
    }
}

/// LINE's content endpoint answered 400 for an hour and a half, for some requests, on 2026-02-03.
#[tokio::test]
async fn an_outage_of_half_an_hour_loses_no_file_and_starts_no_storm() {
    // A refused token and a pause concern the whole channel.
    for statuses in [&[400, 403, 404, 500, 503][..], &[401], &[429]] {
        let t = Archive::new().await;
        let aoi = t.shop.user("Aoi");
        let mut files = vec![];
        for status in statuses {
            for n in 0..4_u8 {
                let file = aoi.sends_file("a", vec![n; 100]).make();
                let id = t.receives(&file).await;
                if n < 3 {
                    let trouble = t.line.trouble(Call::Content).of(file.message_id());
                    trouble.always().answers(*status);
                }
                files.push((*status, id));
            }
        }
        t.work_on(30, MINUTE).await;
        let asked = t.line.all_calls(Call::Content);
        // A 429 without a time is asked again after ten seconds, by one file of the channel.
        let most = (files.len() * 20).max(30 * 6);
        assert!(
            asked < most,
            "{statuses:?}: {asked} requests in half an hour"
        );
        t.line.is_well();
        t.work_on(60, MINUTE).await;
        for (status, id) in files {
            assert_eq!(t.states(id).await, "kept, none", "{status}");
        }
        t.stop().await;
    }
}

#[tokio::test]
async fn half_an_hour_in_which_half_of_the_requests_fail_loses_no_file() {
    for status in [400, 403, 404, 410, 500, 503] {
        let t = Archive::new().await;
        let aoi = t.shop.user("Aoi");
        for call in [Call::Content, Call::Preview] {
            t.line.trouble(call).every_second().answers(status);
        }
        let mut files = vec![];
        for minute in 0..30_u8 {
            let file = aoi.sends_file("a", vec![minute; 100]).make();
            files.push((t.receives(&file).await, "kept, none"));
            let video = aoi.sends_video(vec![minute; 64], 1);
            let video = video.previewed_by(photo(minute.into(), 9, 9)).make();
            files.push((t.receives(&video).await, "kept, kept"));
            t.work_on(1, MINUTE).await;
        }
        let asked = t.line.all_calls(Call::Content) + t.line.all_calls(Call::Preview);
        assert!(asked < 90 * 4, "{status}: {asked} requests");
        t.line.is_well();
        t.work_on(60, MINUTE).await;
        for (id, states) in files {
            assert_eq!(t.states(id).await, states, "{status}");
        }
        t.stop().await;
    }
}
