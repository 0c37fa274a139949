//! Sealed fields of rows, opened when they are read.

use crate::seal::{Error, Keyring, Place, key_of};

/// Opens fields in place. One that cannot be read any more, because its key is gone or its bytes were altered, becomes
/// `None`, which pages show as a tile that says so.
///
/// # Errors
/// The keyring cannot be reached.
pub async fn open(
    keyring: &Keyring,
    fields: Vec<(Place<'_>, &mut Option<Vec<u8>>)>,
) -> sqlx::Result<()> {
    let ids = fields
        .iter()
        .filter_map(|(_, field)| key_of(field.as_deref()?));
    let keys = keyring.find_all(ids).await.map_err(unreachable)?;
    let mut lost = 0;
    for (place, field) in fields {
        let Some(sealed) = field.take() else {
            continue;
        };
        let key = key_of(&sealed).and_then(|id| keys.get(&id));
        match key.map(|key| key.open(place, &sealed)) {
            Some(Ok(plain)) => *field = Some(plain),
            _ => lost += 1,
        }
    }
    if lost > 0 {
        tracing::warn!(
            fields = lost,
            "sealed fields cannot be opened: is the keyring complete, and the secret key the same?"
        );
    }
    Ok(())
}

/// What is sealed with the data key of an object: the object's key and head, and the field.
pub type Beside<'a> = (&'a str, &'a [u8], &'a mut Option<Vec<u8>>);

/// Opens in place what is sealed with the data keys of objects, as [`open`].
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
        *field = data_key.and_then(|key| key.open_beside(Place::Object(object), &sealed).ok());
    }
    Ok(())
}

/// Opens one field, as [`open`].
///
/// # Errors
/// The keyring cannot be reached.
pub async fn open_one(
    keyring: &Keyring,
    place: Place<'_>,
    mut field: Option<Vec<u8>>,
) -> sqlx::Result<Option<Vec<u8>>> {
    open(keyring, vec![(place, &mut field)]).await?;
    Ok(field)
}

fn unreachable(error: Error) -> sqlx::Error {
    match error {
        Error::Io(error) => sqlx::Error::Io(error),
        other => sqlx::Error::Decode(other.into()),
    }
}
