//! The signals that end a process.

use std::fs;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Waits for SIGINT, SIGTERM or SIGHUP. They are listened for from this call on, before the wait begins: a supervisor that
/// ends the service at any moment must not kill it, which would leave PostgreSQL running. A second signal ends the process
/// at once, whatever it waits for. A SIGHUP that the caller had ignored, as `nohup` does, stays ignored.
///
/// # Errors
/// Signals cannot be listened for.
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
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = received(hangup.as_mut()) => {}
            }
            match tell.take() {
                Some(tell) => drop(tell.send(())),
                None => {
                    tracing::warn!("told to end a second time: ending at once");
                    std::process::exit(1);
                }
            }
        }
    });
    Ok(async move {
        // It is dropped with the runtime alone.
        let _ = told.await;
    })
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process ignores a signal. Linux tells; elsewhere none counts as ignored.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = kind.as_raw_value() - 1;
    mask.is_some_and(|mask| mask >> bit & 1 == 1)
}
