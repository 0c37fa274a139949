//! Looks each minute whether the file of the secret key is still the key that the service works with. The service goes on
//! without the file, and would find out at its next start that nothing can be read any more.

use std::{path::PathBuf, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{keys, privileges};
use crate::{config::StorageConfig, seal::SecretKey};

const INTERVAL: Duration = Duration::from_secs(60);

/// The file of the secret key, as it was at the start.
#[derive(Clone)]
pub struct SecretWatch {
    path: PathBuf,
    /// Derived from the key, so that this does not hold the key itself.
    fingerprint: Zeroizing<[u8; 32]>,
}

impl SecretWatch {
    /// For the file of the settings, which `secret` was read from.
    pub fn new(storage: &StorageConfig, secret: &SecretKey) -> Self {
        Self {
            path: keys::secret_path(storage),
            fingerprint: keys::key_fingerprint(secret),
        }
    }

    /// Why the file is not the one of the start; `None` if it is.
    fn fault(&self) -> Option<String> {
        match SecretKey::load(&self.path) {
            Ok(found) if keys::key_fingerprint(&found) == self.fingerprint => None,
            Ok(_) => Some("it has another key than at the start".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Looks each minute until `cancel`, and logs each change once.
    pub async fn run(self, cancel: CancellationToken) {
        let mut last = None;
        while cancel.run_until_cancelled(sleep(INTERVAL)).await.is_some() {
            let watch = self.clone();
            // A disk may hang.
            let looked = cancel.run_until_cancelled(spawn_blocking(move || watch.fault()));
            let Some(Ok(fault)) = looked.await else {
                continue;
            };
            if fault != last {
                self.report(fault.as_deref());
                last = fault;
            }
        }
    }

    fn report(&self, fault: Option<&str>) {
        let file = self.path.display().to_string();
        let file = privileges::with_real_paths(&file);
        match fault {
            Some(reason) => tracing::error!(
                %file,
                reason,
                "the file of the secret key is not as it was at the start. The service goes on with the key in its memory. Put the \
                 file back before the next start: without it nothing can be read"
            ),
            None => tracing::info!(%file, "the file of the secret key is as it was at the start"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use super::*;
    use crate::web::captured::Log;

    #[tokio::test(start_paused = true)]
    async fn each_change_of_the_file_is_logged_once_without_its_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret.key");
        let secret = SecretKey::make(&path, None).expect("a key");
        let whole = fs::read(&path).expect("the key");
        let fingerprint = keys::key_fingerprint(&secret);
        let watch = SecretWatch {
            path: path.clone(),
            fingerprint,
        };
        let (log, _guard) = Log::start();
        let cancel = CancellationToken::new();
        let running = tokio::spawn(watch.run(cancel.clone()));
        let put = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("a file");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        };
        // The clock stands while a file is read, and goes on when all tasks wait.
        let later = || sleep(INTERVAL * 3);
        later().await;
        assert_eq!(log.take(), "");
        let altered: Vec<u8> = whole.iter().map(|byte| byte ^ 1).collect();
        for (bytes, words) in [
            (Some(&b""[..]), "exactly 32 bytes"),
            (Some(&altered), "another key"),
            (None, "there is no such file"),
        ] {
            match bytes {
                Some(bytes) => put(bytes),
                None => fs::remove_file(&path).expect("no file"),
            }
            later().await;
            let said = log.take();
            assert_eq!(said.matches(words).count(), 1, "{said}");
            assert!(
                said.contains("ERROR") && said.contains("secret.key"),
                "{said}"
            );
            put(&whole);
            later().await;
            let said = log.take();
            assert_eq!(said.matches("as it was at the start").count(), 1, "{said}");
        }
        cancel.cancel();
        running.await.expect("an end");
    }
}
