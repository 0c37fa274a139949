//! Small images of our own making: JPEGs without metadata.

use bytes::Bytes;
use image::{RgbImage, codecs::jpeg::JpegEncoder, imageops};
use tokio::task::spawn_blocking;

use super::{
    Media,
    decode::{Unreadable, decode, shrink, within},
    miss::Miss,
};
use crate::records::media::{Reason, SHOWN};

/// Longest side of a profile picture, in pixels.
const PICTURE_SIDE: u32 = 256;
/// Columns, and rows, of the placeholder.
const CELLS: u32 = 4;
const JPEG_QUALITY: u8 = 80;

/// Media type of all of them.
pub(super) const JPEG: &str = "image/jpeg";

/// What is shown of a picture until it is opened: the same at two sizes, for screens of one and of two pixels to a CSS
/// pixel, and the colours that stand in for it until it is there.
#[derive(Debug)]
pub struct Previews {
    /// The smaller one, then the larger one. Together they are one object, so that one thing has to go.
    pub jpegs: Bytes,
    /// Bytes of the smaller one; `None` if there is one alone, because the picture is no larger.
    pub smaller: Option<usize>,
    /// Width and height of the larger one.
    pub pixels: (u32, u32),
    /// Red, green and blue of each cell of a grid of four by four, row by row.
    pub colours: Vec<u8>,
}

/// Makes the previews of an image.
///
/// # Errors
/// The bytes are no image that can be read within the limits.
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
    /// [`previews`], off the async threads, one image at a time.
    pub(super) async fn previews(&self, bytes: Vec<u8>) -> Result<Previews, Miss> {
        self.made(move || previews(&bytes)).await
    }

    /// A profile picture, likewise.
    pub(super) async fn small_picture(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Miss> {
        self.made(move || picture(&bytes)).await
    }

    async fn made<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, Unreadable> + Send + 'static,
    ) -> Result<T, Miss> {
        let _turn = self.decoder.acquire().await.map_err(|_| Miss::Stopped)?;
        match spawn_blocking(make).await {
            Ok(Ok(made)) => Ok(made),
            // A decoder that panics has met an image that it cannot read.
            Ok(Err(Unreadable)) | Err(_) => Err(Miss::Failed(Reason::Unreadable)),
        }
    }
}

#[cfg(test)]
mod tests;
