//! The mark in the keyring that the rows of an installation were attested.

use uuid::Uuid;

use super::{Error, Keyring, SecretKey};

/// The id of a key that is kept only as the mark. It is derived from the secret key.
pub(super) fn id(secret: &SecretKey) -> Uuid {
    let derived = secret.derive("attested rows mark");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&derived[..16]);
    Uuid::from_bytes(bytes)
}

impl Keyring {
    /// True if the rows of this installation were attested before: [`Keyring::set_attested`] was called. The mark is
    /// stored in the keyring, so a database writer cannot remove it, and a restored database does not bring back an
    /// older state of it.
    ///
    /// # Errors
    /// The key store cannot be reached, or the secret key is another.
    pub async fn is_attested(&self) -> Result<bool, Error> {
        match self.read(self.0.attested).await {
            Ok(_) => Ok(true),
            Err(Error::NoKey) => Ok(false),
            // Nobody but this archive has put it there, so it was set; it is written anew.
            Err(Error::Unreadable | Error::Damaged(_)) => {
                tracing::error!(
                    file = self.file_of(self.0.attested),
                    "a file of the keyring is damaged, and is written anew"
                );
                self.write_attested().await?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets the mark of [`Keyring::is_attested`]. Idempotent.
    ///
    /// # Errors
    /// The key store cannot be written.
    pub async fn set_attested(&self) -> Result<(), Error> {
        match self.write_attested().await {
            Err(_) if self.is_attested().await? => Ok(()),
            put => put,
        }
    }

    async fn write_attested(&self) -> Result<(), Error> {
        let id = self.0.attested;
        let (_, head) = self.0.master.data_key(id.as_bytes())?;
        self.0.key_store.put(&[(id, head)]).await
    }
}
