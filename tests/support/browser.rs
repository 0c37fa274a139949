//! A headless Chromium, driven through WebDriver as plain JSON over HTTP.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::provision::programs;

/// Runs the driver until its own input ends, that is until the test's process is done with it or gone.
/// Chromium hangs on the driver by a pipe and goes with it.
const DRIVER: &str = r#"
trap '' HUP INT TERM
"$1" --port=0 </dev/null & driver=$!
while read -r _; do :; done
kill -KILL $driver
while kill -0 $driver; do sleep 0.05; done
# Chromium still writes a last word or two.
for try in 1 2 3 4 5 6 7 8 9; do rm -rf -- "$2"; sleep 0.3; [ -e "$2" ] || break; done
"#;

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
];

/// WebDriver's name for a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// For each thing that the driver is asked to do, and for its start.
const LONGEST: Duration = Duration::from_secs(60);

/// One window with a fresh profile. It goes when this value is dropped, or with the test's process.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    _driver: Child,
}

impl Browser {
    /// Starts a driver and a window of 1440 × 900, in about a second.
    pub async fn start() -> Result<Self> {
        Self::with(&[]).await
    }

    /// The same, with more of Chromium's flags.
    pub async fn with(flags: &[&str]) -> Result<Self> {
        let programs = programs()?;
        let (driver, port, home) = match driver(&programs.driver).await {
            Ok(started) => started,
            // The port that it found free may have been taken before it took it itself.
            Err(_) => driver(&programs.driver).await?,
        };
        // Another part of the test may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(LONGEST)
            .build()?;
        let profile = format!("--user-data-dir={}", home.join("profile").display());
        let args: Vec<&str> = FLAGS
            .iter()
            .chain(flags)
            .copied()
            .chain([profile.as_str()])
            .collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "binary": programs.chromium, "args": args },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let mut browser = Self {
            http,
            session: format!("http://127.0.0.1:{port}/session"),
            _driver: driver,
        };
        let made = browser.post("", wanted).await?;
        let id = made["sessionId"].as_str().context("no session id")?;
        browser.session = format!("{}/{id}", browser.session);
        browser.set_size(1440, 900).await?;
        // Chromium's own first page has requests of its own.
        browser.goto("about:blank").await?;
        browser.requests().await?;
        Ok(browser)
    }

    /// Goes to `url`, and waits until it and all it needs is loaded.
    pub async fn goto(&self, url: &str) -> Result<()> {
        self.post("/url", json!({ "url": url })).await?;
        // On a busy machine the driver comes back while the page is still being read: 10 files of 50 were seen.
        let read = "document.readyState === 'complete'";
        self.wait_until(read, LONGEST).await.map(drop)
    }

    /// Opens another tab, with the same cookies, and brings it to the front. Gives the name of the one before and its
    /// own, for [`Browser::turn_to`].
    pub async fn open_tab(&self) -> Result<[String; 2]> {
        let before = self.get("/window").await?;
        let new = self.post("/window/new", json!({ "type": "tab" })).await?;
        let names = [&before, &new["handle"]].map(|name| name.as_str().unwrap_or_default());
        self.turn_to(names[1]).await?;
        Ok(names.map(str::to_owned))
    }

    /// Has all other calls mean this tab from now on.
    pub async fn turn_to(&self, tab: &str) -> Result<()> {
        let tab = json!({ "handle": tab });
        self.post("/window", tab).await.map(drop)
    }

    /// The value of a JavaScript expression; a promise is awaited.
    pub async fn eval(&self, js: &str) -> Result<Value> {
        self.post(
            "/execute/sync",
            json!({ "script": format!("return ({js})"), "args": [] }),
        )
        .await
    }

    /// The first element that a CSS selector finds, for the other calls here.
    async fn find(&self, css: &str) -> Result<String> {
        let found = self
            .post("/element", json!({ "using": "css selector", "value": css }))
            .await?;
        Ok(format!(
            "/element/{}",
            found[ELEMENT].as_str().context("no element")?
        ))
    }

    /// Clicks on the first such element, as a person can: it has to be visible and uncovered.
    pub async fn click(&self, css: &str) -> Result<()> {
        let element = self.find(css).await?;
        self.post(&format!("{element}/click"), json!({}))
            .await
            .map(drop)
    }

    /// Replaces what stands in the first such field by `text`, key by key.
    pub async fn type_in(&self, css: &str, text: &str) -> Result<()> {
        let element = self.find(css).await?;
        self.post(&format!("{element}/clear"), json!({})).await?;
        self.post(&format!("{element}/value"), json!({ "text": text }))
            .await
            .map(drop)
    }

    /// The text of the first such element, as it is shown.
    pub async fn text(&self, css: &str) -> Result<String> {
        let element = self.find(css).await?;
        let text = self.get(&format!("{element}/text")).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until such an element is there.
    pub async fn wait_for(&self, css: &str, within: Duration) -> Result<()> {
        self.wait_until(
            &format!("document.querySelector({}) !== null", json!(css)),
            within,
        )
        .await
        .map(drop)
    }

    /// Waits until a JavaScript expression is true in JavaScript's sense, and gives its value.
    pub async fn wait_until(&self, js: &str, within: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            // While a page changes to the next, an evaluation may fail.
            let last = match self
                .eval(&format!("(value => [!!value, value])({js})"))
                .await
            {
                Ok(value) if value[0] == true => return Ok(value[1].clone()),
                Ok(value) => value[1].to_string(),
                Err(e) => format!("{e:#}"),
            };
            if Instant::now() > deadline {
                let at = self.eval("location.href").await.unwrap_or_default();
                bail!("not within {within:?} at {at}: {js} (last: {last})");
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    /// Writes what the window shows to `path`, as PNG.
    pub async fn screenshot(&self, path: &Path) -> Result<()> {
        let png = self.get("/screenshot").await?;
        Ok(fs::write(
            path,
            BASE64_STANDARD.decode(png.as_str().unwrap_or_default())?,
        )?)
    }

    /// Makes the page exactly `width` × `height` CSS pixels; a width below 600 is a phone.
    pub async fn set_size(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await
            .map(drop)
    }

    /// Whether the person prefers dark pages.
    pub async fn set_dark(&self, dark: bool) -> Result<()> {
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media)
            .await
            .map(drop)
    }

    /// What the console said since it was last asked, as `LEVEL text`: script errors, `console.*`, requests that
    /// failed, violations of the content security policy.
    pub async fn console(&self) -> Result<Vec<String>> {
        let entries = self.log("browser").await?;
        Ok(entries
            .iter()
            .map(|e| {
                [&e["level"], &e["message"]]
                    .map(|part| part.as_str().unwrap_or_default())
                    .join(" ")
            })
            .collect())
    }

    /// The URL of every request sent since it was last asked, whether it was answered or not.
    pub async fn requests(&self) -> Result<Vec<String>> {
        let mut urls = Vec::new();
        for entry in self.log("performance").await? {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap_or_default())?;
            let event = &event["message"];
            if event["method"] == "Network.requestWillBeSent" {
                urls.extend(
                    event["params"]["request"]["url"]
                        .as_str()
                        .map(str::to_owned),
                );
            }
        }
        Ok(urls)
    }

    async fn log(&self, kind: &str) -> Result<Vec<Value>> {
        let entries = self.post("/se/log", json!({ "type": kind })).await?;
        Ok(serde_json::from_value(entries)?)
    }

    /// Sends the tab in front a command of the DevTools protocol, such as `Network.getCookies`; its answer.
    pub async fn devtools(&self, command: &str, params: Value) -> Result<Value> {
        self.post(
            "/goog/cdp/execute",
            json!({ "cmd": command, "params": params }),
        )
        .await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        answer(
            self.http
                .post(format!("{}{path}", self.session))
                .json(&body),
        )
        .await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        answer(self.http.get(format!("{}{path}", self.session))).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let ok = response.status().is_success();
    let mut answer: Value = response.json().await?;
    let value = answer["value"].take();
    if !ok {
        // The first line says it; a stack of the driver's own follows.
        let message = value["message"].as_str().unwrap_or_default();
        bail!("{}", message.lines().next().unwrap_or_default());
    }
    Ok(value)
}

/// Starts a driver, and finds out where it listens. The last is a directory of its own, which goes with it.
async fn driver(program: &Path) -> Result<(Child, u16, PathBuf)> {
    let home = env::temp_dir().join(format!("browser-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir(&home)?;
    let mut driver = Command::new("/bin/sh")
        .args(["-c", DRIVER, "sh"])
        .arg(program)
        .arg(&home)
        .env("HOME", &home)
        .env("TMPDIR", &home)
        // Without a UTF-8 locale Chromium cannot save a file with a Japanese name; the zone is that of the tests.
        .envs([("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let port = timeout(LONGEST / 3, port_of(&mut driver)).await;
    let port = port.context("chromedriver does not say its port")??;
    Ok((driver, port, home))
}

async fn port_of(driver: &mut Child) -> Result<u16> {
    let mut lines = BufReader::new(driver.stdout.take().context("no output")?).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return Ok(port.trim_end_matches('.').parse()?);
        }
    }
    bail!("chromedriver ended before it named its port")
}
