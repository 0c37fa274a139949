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
const ONE_ORDER: Duration = Duration::from_secs(1);

/// Waits for SIGINT, SIGTERM or SIGHUP. Signals are caught from this call on, before the returned future is awaited: a
/// supervisor that ends the service at any moment must not kill it, which would leave PostgreSQL running. A second
/// signal that comes later than [`ONE_ORDER`] ends the process at once, whatever it waits for. If the caller had SIGHUP
/// ignored, as `nohup` does, it stays ignored.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn until_told_to_end() -> std::io::Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = match is_ignored(SignalKind::hangup()) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let mut tell = Some(tell);
        let mut first = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = received(hangup.as_mut()) => {}
            }
            match tell.take() {
                Some(tell) => {
                    first = Some(Instant::now());
                    let _ = tell.send(());
                }
                None if first.is_some_and(|first| first.elapsed() < ONE_ORDER) => {}
                None => {
                    tracing::warn!("told to end a second time: ending at once");
                    std::process::exit(1);
                }
            }
        }
    });
    Ok(async move {
        // The sender is dropped only together with the runtime.
        let _ = told.await;
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
