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

/// Runs the driver until its own input ends, which happens when the test's process closes it or ends. Chromium is
/// connected to the driver by a pipe, and ends with it.
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

/// The key of an element reference in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The time limit of each WebDriver command, and of the driver's start.
const LONGEST: Duration = Duration::from_secs(60);

/// One window with a fresh profile. It closes when this value is dropped, or with the test's process.
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

    /// Starts a driver and a window with additional Chromium flags.
    pub async fn with(flags: &[&str]) -> Result<Self> {
        let programs = programs()?;
        let (driver, port, home) = match driver(&programs.driver).await {
            Ok(started) => started,
            // Another process may have taken the free port that the driver had found.
            Err(_) => driver(&programs.driver).await?,
        };
        // Another part of the test may have installed the provider before.
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
        // Chromium's own first page makes requests, which are discarded here.
        browser.goto("about:blank").await?;
        browser.requests().await?;
        Ok(browser)
    }

    /// Opens `url`, and waits until the page and everything it needs is loaded.
    pub async fn goto(&self, url: &str) -> Result<()> {
        self.post("/url", json!({ "url": url })).await?;
        // On a busy machine the driver returns while the page is still loading: with 10 of 50 files, when measured.
        let read = "document.readyState === 'complete'";
        self.wait_until(read, LONGEST).await.map(drop)
    }

    /// Opens another tab with the same cookies, and brings it to the front. Returns the names of the previous tab and
    /// of the new one, for [`Browser::turn_to`].
    pub async fn open_tab(&self) -> Result<[String; 2]> {
        let before = self.get("/window").await?;
        let new = self.post("/window/new", json!({ "type": "tab" })).await?;
        let names = [&before, &new["handle"]].map(|name| name.as_str().unwrap_or_default());
        self.turn_to(names[1]).await?;
        Ok(names.map(str::to_owned))
    }

    /// Switches to this tab; all later calls apply to it.
    pub async fn turn_to(&self, tab: &str) -> Result<()> {
        let tab = json!({ "handle": tab });
        self.post("/window", tab).await.map(drop)
    }

    /// Evaluates a JavaScript expression, and awaits a promise.
    pub async fn eval(&self, js: &str) -> Result<Value> {
        self.post(
            "/execute/sync",
            json!({ "script": format!("return ({js})"), "args": [] }),
        )
        .await
    }

    /// The WebDriver path of the first element that matches a CSS selector.
    async fn find(&self, css: &str) -> Result<String> {
        let found = self
            .post("/element", json!({ "using": "css selector", "value": css }))
            .await?;
        Ok(format!(
            "/element/{}",
            found[ELEMENT].as_str().context("no element")?
        ))
    }

    /// Clicks on the first matching element, like a person: it has to be visible and uncovered.
    pub async fn click(&self, css: &str) -> Result<()> {
        let element = self.find(css).await?;
        self.post(&format!("{element}/click"), json!({}))
            .await
            .map(drop)
    }

    /// Replaces the content of the first matching field by `text`, key by key.
    pub async fn type_in(&self, css: &str, text: &str) -> Result<()> {
        let element = self.find(css).await?;
        self.post(&format!("{element}/clear"), json!({})).await?;
        self.post(&format!("{element}/value"), json!({ "text": text }))
            .await
            .map(drop)
    }

    /// The visible text of the first matching element.
    pub async fn text(&self, css: &str) -> Result<String> {
        let element = self.find(css).await?;
        let text = self.get(&format!("{element}/text")).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an element matches.
    pub async fn wait_for(&self, css: &str, within: Duration) -> Result<()> {
        self.wait_until(
            &format!("document.querySelector({}) !== null", json!(css)),
            within,
        )
        .await
        .map(drop)
    }

    /// Waits until a JavaScript expression is truthy, and returns its value.
    pub async fn wait_until(&self, js: &str, within: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            // An evaluation may fail while one page replaces another.
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

    /// Writes a screenshot of the window to `path`, as PNG.
    pub async fn screenshot(&self, path: &Path) -> Result<()> {
        let png = self.get("/screenshot").await?;
        Ok(fs::write(
            path,
            BASE64_STANDARD.decode(png.as_str().unwrap_or_default())?,
        )?)
    }

    /// Sets the size of the page in CSS pixels; a width below 600 emulates a phone.
    pub async fn set_size(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await
            .map(drop)
    }

    /// Emulates a person who prefers dark pages, or light ones.
    pub async fn set_dark(&self, dark: bool) -> Result<()> {
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media)
            .await
            .map(drop)
    }

    /// The console messages since the last call, as `LEVEL text`: script errors, `console.*`, failed requests,
    /// violations of the content security policy.
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

    /// The URL of every request that was sent since the last call, whether it was answered or not.
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

    /// Sends the current tab a command of the DevTools protocol, such as `Network.getCookies`, and returns the answer.
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
        // The first line is the message; a stack of the driver follows.
        let message = value["message"].as_str().unwrap_or_default();
        bail!("{}", message.lines().next().unwrap_or_default());
    }
    Ok(value)
}

/// Starts a driver and finds its port. Also returns its directory, which is deleted when the driver ends.
async fn driver(program: &Path) -> Result<(Child, u16, PathBuf)> {
    let home = env::temp_dir().join(format!("browser-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir(&home)?;
    let mut driver = Command::new("/bin/sh")
        .args(["-c", DRIVER, "sh"])
        .arg(program)
        .arg(&home)
        .env("HOME", &home)
        .env("TMPDIR", &home)
        // Without a UTF-8 locale Chromium cannot save a file with a Japanese name; the tests expect UTC.
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
