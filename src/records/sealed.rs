//! Opens the sealed fields of rows when they are read.

use std::io;

use crate::seal::{Error, Keyring, SealContext, key_of};

/// Opens fields in place. A field that cannot be read any more, because its key is destroyed or its bytes were altered,
/// becomes `None`; pages show a tile that says so.
///
/// # Errors
/// The keyring cannot be reached.
pub async fn open(
    keyring: &Keyring,
    fields: Vec<(SealContext<'_>, &mut Option<Vec<u8>>)>,
) -> sqlx::Result<()> {
    let ids = fields
        .iter()
        .filter_map(|(_, field)| key_of(field.as_deref()?));
    let keys = keyring.find_all(ids).await.map_err(unreachable)?;
    let mut lost = 0;
    for (context, field) in fields {
        let Some(sealed) = field.take() else {
            continue;
        };
        let key = key_of(&sealed).and_then(|id| keys.get(&id));
        match key.map(|key| key.open(context, &sealed)) {
            Some(Ok(plain)) => *field = Some(plain),
            _ => lost += 1,
        }
    }
    if lost > 0 {
        tracing::warn!(
            fields = lost,
            "sealed fields cannot be opened: check that the keyring is complete and the secret key is unchanged"
        );
    }
    Ok(())
}

/// A field that is sealed with the data key of an object: the object's key and head, and the field.
pub type Beside<'a> = (&'a str, &'a [u8], &'a mut Option<Vec<u8>>);

/// Opens fields in place that are sealed with the data keys of objects, as [`open`] does.
///
/// # Errors
/// The keyring cannot be reached.
pub async fn open_beside(keyring: &Keyring, fields: Vec<Beside<'_>>) -> sqlx::Result<()> {
    let ids = fields.iter().filter_map(|(_, head, _)| key_of(head));
    let keys = keyring.find_all(ids).await.map_err(unreachable)?;
    for (object, head, field) in fields {
        let Some(sealed) = field.take() else {
            continue;
        };
        let key = key_of(head).and_then(|id| keys.get(&id));
        let data_key = key.and_then(|key| key.open_data_key(head).ok());
        *field =
            data_key.and_then(|key| key.open_beside(SealContext::Object(object), &sealed).ok());
    }
    Ok(())
}

/// Opens one field, as [`open`] does.
///
/// # Errors
/// The keyring cannot be reached.
pub async fn open_one(
    keyring: &Keyring,
    context: SealContext<'_>,
    mut field: Option<Vec<u8>>,
) -> sqlx::Result<Option<Vec<u8>>> {
    open(keyring, vec![(context, &mut field)]).await?;
    Ok(field)
}

fn unreachable(error: Error) -> sqlx::Error {
    match error {
        // Kept inside, so that a page can say that it is the keyring that does not answer.
        Error::Io(error) => sqlx::Error::Io(io::Error::new(error.kind(), Error::Io(error))),
        other => sqlx::Error::Decode(other.into()),
    }
}
