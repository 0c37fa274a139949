//! LINE's official SDKs check the webhooks that the fake LINE platform signs. These tests run where Node.js and Python
//! are installed; if `CI` is set, a missing one is a failure.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use line_chat_archive::fake_line::{SignedBody, sampler};
use serde_json::json;

use crate::harness::run;

const NODE_SDK: &str = "@line/bot-sdk@11.2.0";
const PYTHON_SDK: &str = "line-bot-sdk==3.27.0";

#[tokio::test]
async fn the_sdk_for_node_validates_what_is_signed() {
    judged_by(node, "validate.mjs").await;
}

#[tokio::test]
async fn the_sdk_for_python_validates_what_is_signed() {
    judged_by(python, "validate.py").await;
}

/// Lets an SDK validate one webhook of every kind, and then delivers the same bytes to the service.
async fn judged_by(judge: fn(&Path) -> Result<Command>, script: &str) {
    run(async |t| {
        let signed = sampler::every_kind(&t.shop);
        let mut judge = match judge(&place()?) {
            Ok(judge) => judge,
            Err(missing) if env::var_os("CI").is_none() => {
                // Written directly to stderr, past the test runner's capture, so that a skipped check is visible.
                writeln!(io::stderr(), "{script} is left out: {missing:#}")?;
                return Ok(());
            }
            Err(missing) => return Err(missing),
        };
        judge.arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/outside")
                .join(script),
        );
        let verdict = fed(judge, &signed)?;
        let (said, wrong) = (
            String::from_utf8_lossy(&verdict.stdout),
            String::from_utf8_lossy(&verdict.stderr),
        );
        ensure!(verdict.status.success(), "{said}{wrong}");
        assert_eq!(
            said.trim(),
            format!("{} bodies validated", signed.len()),
            "{wrong}"
        );
        for SignedBody {
            body, signature, ..
        } in signed
        {
            let delivery = t.shop.deliver_bytes(body, Some(&signature)).await;
            assert_eq!(delivery.status, 200);
        }
        assert!(t.count("select count(*) from event").await? > 10);
        Ok(())
    })
    .await;
}

/// The directory in which the SDKs are kept between runs.
fn place() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let place = target.context("no target directory")?.join("outside");
    fs::create_dir_all(&place)?;
    Ok(place)
}

/// A Node.js command, in a directory where the SDK is installed.
fn node(place: &Path) -> Result<Command> {
    let home = place.join("node");
    if !home
        .join("node_modules/@line/bot-sdk/package.json")
        .is_file()
    {
        fs::create_dir_all(&home)?;
        // Its own `package.json`: without one, npm uses one from the directories above.
        fs::write(home.join("package.json"), r#"{"private":true}"#)?;
        let install = ["install", "--no-audit", "--no-fund", NODE_SDK];
        done(Command::new("npm").args(install).current_dir(&home))?;
    }
    let mut node = Command::new("node");
    done(node.arg("--version"))?;
    let mut node = Command::new("node");
    node.current_dir(home);
    Ok(node)
}

/// The Python of a virtual environment where the SDK is installed.
fn python(place: &Path) -> Result<Command> {
    let home = place.join("python");
    let python = home.join("bin/python3");
    let has_sdk = |python: &Path| done(Command::new(python).args(["-c", "import linebot.v3"]));
    if has_sdk(&python).is_err() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        let install = ["-m", "pip", "install", "--quiet", PYTHON_SDK];
        done(Command::new(&python).args(install))?;
        has_sdk(&python)?;
    }
    Ok(Command::new(python))
}

/// Runs a command to its end; shows its output only in the error.
fn done(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} cannot be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said
            .lines()
            .find(|line| line.to_lowercase().contains("error"));
        bail!("{name}: {}", why.unwrap_or_else(|| said.trim()));
    }
    Ok(())
}

/// Gives the command one webhook a line on stdin, and returns its output.
fn fed(mut judge: Command, signed: &[SignedBody]) -> Result<Output> {
    let mut lines = tempfile::tempfile()?;
    for SignedBody {
        secret,
        signature,
        body,
    } in signed
    {
        writeln!(
            lines,
            "{}",
            json!({ "secret": secret, "signature": signature, "body": body })
        )?;
    }
    io::Seek::rewind(&mut lines)?;
    Ok(judge.stdin(lines).output()?)
}
