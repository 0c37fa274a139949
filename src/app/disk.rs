//! Tells faults of a disk from a lack of rights.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// The fault of the disk, and the remedy; `None` if the error is not one of a disk.
pub fn trouble(error: &io::Error) -> Option<&'static str> {
    let of_errno = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    Some(match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "its disk is mounted read-only. Mount it read-write",
        ErrorKind::StorageFull => "its disk is full. Make space",
        ErrorKind::QuotaExceeded => {
            "the account's quota on its disk is used up. Raise it, or make space"
        }
        ErrorKind::StaleNetworkFileHandle => {
            "its disk was unmounted, or is another one by now. Mount it again"
        }
        _ if of_errno(Errno::NODEV) || of_errno(Errno::NXIO) => {
            "its disk is not there. Attach and mount it"
        }
        _ if of_errno(Errno::IO) => {
            "its disk fails to read or write. Look at the kernel's log, and at the disk"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_a_disk_are_told_from_a_lack_of_rights() {
        for (errno, words) in [
            (Errno::ROFS, "mounted read-only"),
            (Errno::NOSPC, "full"),
            (Errno::DQUOT, "quota"),
            (Errno::IO, "fails to read or write"),
            (Errno::NODEV, "not there"),
            (Errno::NXIO, "not there"),
            (Errno::STALE, "unmounted"),
        ] {
            let said = trouble(&errno.into()).unwrap_or_default();
            assert!(said.contains(words), "{errno}: {said}");
        }
        for errno in [Errno::ACCESS, Errno::PERM, Errno::NOENT, Errno::NOTDIR] {
            assert_eq!(trouble(&errno.into()), None);
        }
    }
}
