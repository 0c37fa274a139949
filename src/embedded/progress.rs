//! Reports progress during long waits.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    time::{Instant, interval_at},
};

const EVERY: Duration = Duration::from_secs(5);

/// Awaits `work`. Until it is done, `say` gets the line of `progress` every five seconds.
pub(super) async fn with_progress<T>(
    say: &(dyn Fn(&str) + Sync),
    progress: impl Fn() -> String,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let mut tick = interval_at(Instant::now() + EVERY, EVERY);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = tick.tick() => say(&progress()),
        }
    }
}

/// Runs a program to its end. Every five seconds `say` gets its newest line of output, with `name` in front.
///
/// Returns its exit status and the last lines of its output.
pub(super) async fn run_with_progress(
    say: &(dyn Fn(&str) + Sync),
    name: &str,
    command: &mut Command,
) -> io::Result<(ExitStatus, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let lines = Mutex::new(Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        tokio::join!(keep(out, &lines), keep(err, &lines));
        child.wait().await
    };
    let newest = || {
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        format!("  {name}: {}", lines.last().map_or("…", String::as_str))
    };
    let status = with_progress(say, newest, work).await?;
    let lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((status, last(&lines.join("\n"))))
}

async fn keep(from: Option<impl AsyncRead + Unpin>, lines: &Mutex<Vec<String>>) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from).lines();
    while let Ok(Some(line)) = from.next_line().await {
        lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

/// Why one of PostgreSQL's programs failed: its own error line, or else the end of its output.
pub(super) fn cause(output: &str) -> String {
    let found = output.lines().find_map(|line| {
        let (_, why) = line
            .split_once("FATAL:")
            .or_else(|| line.split_once("error:"))?;
        Some(why.trim().to_owned())
    });
    found.unwrap_or_else(|| last(output))
}

/// The last five lines of an output that are not blank: they usually contain the reason of a failure.
pub(super) fn last(output: &str) -> String {
    let lines: Vec<_> = output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
