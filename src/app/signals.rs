//! The signals that end a process.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Signals within this time after the first count as the same order: when a terminal closes, both it and the shell in
/// it send a signal, and some supervisors send several.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// Waits for SIGINT, SIGTERM or SIGHUP. Signals are caught from this call on: a signal that arrives before the returned
/// future is awaited, for example from a supervisor, must not kill the process, because PostgreSQL would keep running.
/// A second signal that comes later than [`DEBOUNCE`] ends the process at once, whatever it waits for. If the parent
/// process ignored SIGHUP, as `nohup` does, it stays ignored.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = match is_ignored(SignalKind::hangup()) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let mut sender = Some(sender);
        let mut first = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = received(hangup.as_mut()) => {}
            }
            match sender.take() {
                Some(sender) => {
                    first = Some(Instant::now());
                    let _ = sender.send(());
                }
                None if first.is_some_and(|first| first.elapsed() < DEBOUNCE) => {}
                None => {
                    tracing::warn!("second signal: stopping at once");
                    std::process::exit(1);
                }
            }
        }
    });
    Ok(async move {
        // The sender is dropped only together with the runtime.
        let _ = receiver.await;
    })
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process ignores a signal, as Linux reports it. On other systems no signal counts as ignored.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = kind.as_raw_value() - 1;
    mask.is_some_and(|mask| mask >> bit & 1 == 1)
}
