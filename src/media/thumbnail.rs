//! Images from strangers: measured before they are decoded, and made small.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage,
    codecs::jpeg::JpegEncoder, metadata::Orientation,
};
use tokio::task::spawn_blocking;

use super::{Media, miss::Miss};
use crate::records::media::Reason;

/// Longest side of a preview, in pixels.
pub(super) const PREVIEW_SIDE: u32 = 640;
/// Longest side of a profile picture, in pixels.
pub(super) const PICTURE_SIDE: u32 = 256;

const LONGEST_SIDE: u32 = 12_000;
const MOST_PIXELS: u64 = 50_000_000;
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
const JPEG_QUALITY: u8 = 80;

/// Media type of every [`Thumbnail`].
pub(super) const JPEG: &str = "image/jpeg";

/// A small image of our own making: a JPEG without metadata.
#[derive(Debug)]
pub(super) struct Thumbnail {
    pub(super) jpeg: Vec<u8>,
    pub(super) pixels: (u32, u32),
}

/// The bytes are no image that can be read within the limits.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Media {
    /// Makes a [`Thumbnail`] off the async threads, one at a time.
    pub(super) async fn thumbnail(&self, bytes: Vec<u8>, side: u32) -> Result<Thumbnail, Miss> {
        let _turn = self.decoder.acquire().await.map_err(|_| Miss::Stopped)?;
        match spawn_blocking(move || make(&bytes, side)).await {
            Ok(Ok(thumbnail)) => Ok(thumbnail),
            // A decoder that panics has met an image that it cannot read.
            Ok(Err(Unreadable)) | Err(_) => Err(Miss::Failed(Reason::Unreadable)),
        }
    }
}

/// Media type, and width and height as shown, of an image that can probably be read. Decodes no pixel.
pub(super) fn measure(bytes: &[u8]) -> Result<(&'static str, (u32, u32)), Unreadable> {
    let (format, mut decoder) = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(
        decoder.orientation().map_err(|_| Unreadable)?,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let pixels = if turned {
        (height, width)
    } else {
        (width, height)
    };
    Ok((format.to_mime_type(), pixels))
}

/// Decodes `bytes` and makes them small: no side longer than `side`, upright, on white.
fn make(bytes: &[u8], side: u32) -> Result<Thumbnail, Unreadable> {
    let (_, mut decoder) = open(bytes)?;
    let orientation = decoder.orientation().map_err(|_| Unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|_| Unreadable)?;
    if image.width().max(image.height()) > side {
        image = image.thumbnail(side, side);
    }
    image.apply_orientation(orientation);
    let image = on_white(&image);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY)
        .encode_image(&image)
        .map_err(|_| Unreadable)?;
    Ok(Thumbnail {
        jpeg,
        pixels: image.dimensions(),
    })
}

fn open(bytes: &[u8]) -> Result<(ImageFormat, impl ImageDecoder + '_), Unreadable> {
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|_| Unreadable)?;
    let format = reader.format().ok_or(Unreadable)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    let mut reader = reader;
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|_| Unreadable)?;
    let (width, height) = decoder.dimensions();
    // Not every decoder keeps to the limits it was given.
    let fits = width.max(height) <= LONGEST_SIDE
        && u64::from(width) * u64::from(height) <= MOST_PIXELS
        && decoder.total_bytes() <= MOST_MEMORY;
    fits.then_some((format, decoder)).ok_or(Unreadable)
}

fn on_white(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let image = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        let blend = |colour: u8| {
            let (colour, alpha) = (u32::from(colour), u32::from(alpha));
            u8::try_from((colour * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
        };
        Rgb([blend(r), blend(g), blend(b)])
    })
}
