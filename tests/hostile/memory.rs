//! The memory of this process, as Linux counts it.

use std::fs;

use tokio::sync::Mutex;

/// Held by a test that measures memory, and by tests whose memory would be measured too.
pub static TURN: Mutex<()> = Mutex::const_new(());

/// Resets the peak, so that [`most`] reports the peak from here on. Returns the bytes in use now.
pub fn mark() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    field("VmRSS:")
}

/// The peak of the memory since [`mark`], in bytes.
pub fn most() -> u64 {
    field("VmHWM:")
}

fn field(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
