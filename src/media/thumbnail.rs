//! Makes small images: JPEGs without metadata.

use bytes::Bytes;
use image::{RgbImage, codecs::jpeg::JpegEncoder, imageops};
use tokio::task::spawn_blocking;

use super::{
    Media,
    decode::{Unreadable, decode, shrink, within},
    fetch_error::FetchError,
};
use crate::records::media::{Reason, SHOWN};

/// Longest side of a profile picture, in pixels.
const PICTURE_SIDE: u32 = 256;
/// Columns, and rows, of the placeholder's grid.
const CELLS: u32 = 4;
const JPEG_QUALITY: u8 = 80;

/// Media type of all images that this module makes.
pub(super) const JPEG: &str = "image/jpeg";

/// The preview of an image at two sizes, for screens with one and with two pixels per CSS pixel, and the placeholder's
/// colours that are shown until it has loaded.
#[derive(Debug)]
pub struct Previews {
    /// The smaller JPEG, then the larger one. Together they are one object, so that an erasure has to delete only one.
    pub jpegs: Bytes,
    /// Size of the smaller JPEG in bytes; `None` if there is only one, because the image is not larger than the smaller
    /// size.
    pub smaller: Option<usize>,
    /// Width and height of the larger JPEG, in pixels.
    pub pixels: (u32, u32),
    /// Red, green and blue of each cell of a grid of four by four, row by row.
    pub colours: Vec<u8>,
}

/// Makes the previews of an image.
///
/// # Errors
/// The bytes are not an image that can be decoded within the limits.
pub fn previews(bytes: &[u8]) -> Result<Previews, Unreadable> {
    let large = decode(bytes, (SHOWN.0 * 2, SHOWN.1 * 2))?;
    let size = large.dimensions();
    let room = within(size, SHOWN);
    let small = match room == size {
        true => None,
        false => Some(shrink(&large, room)?),
    };
    let cells = imageops::thumbnail(small.as_ref().unwrap_or(&large), CELLS, CELLS);
    let mut jpegs = match &small {
        Some(small) => encode(small)?,
        None => vec![],
    };
    let smaller = small.map(|_| jpegs.len());
    jpegs.extend(encode(&large)?);
    Ok(Previews {
        jpegs: jpegs.into(),
        smaller,
        pixels: size,
        colours: cells.into_raw(),
    })
}

/// Makes a profile picture.
fn picture(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    encode(&decode(bytes, (PICTURE_SIDE, PICTURE_SIDE))?)
}

fn encode(image: &RgbImage) -> Result<Vec<u8>, Unreadable> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY)
        .encode_image(image)
        .map_err(|_| Unreadable)?;
    Ok(jpeg)
}

impl Media {
    /// Calls [`previews`] on a blocking thread, one image at a time.
    pub(super) async fn previews(&self, bytes: Vec<u8>) -> Result<Previews, FetchError> {
        self.made(move || previews(&bytes)).await
    }

    /// Makes a profile picture, also on a blocking thread and one at a time.
    pub(super) async fn small_picture(&self, bytes: Vec<u8>) -> Result<Vec<u8>, FetchError> {
        self.made(move || picture(&bytes)).await
    }

    async fn made<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, Unreadable> + Send + 'static,
    ) -> Result<T, FetchError> {
        let _turn = self
            .decoder
            .acquire()
            .await
            .map_err(|_| FetchError::Stopped)?;
        match spawn_blocking(make).await {
            Ok(Ok(made)) => Ok(made),
            // A decoder panics on an image that it cannot read.
            Ok(Err(Unreadable)) | Err(_) => Err(FetchError::Failed(Reason::Unreadable)),
        }
    }
}

#[cfg(test)]
mod tests;
