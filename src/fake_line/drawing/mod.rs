//! Pictures drawn on the spot, so that no photograph of anybody is needed.

use bytes::Bytes;
use image::{ImageReader, Rgb, RgbImage, codecs::jpeg::JpegEncoder};

/// A round-cornered two-tone portrait, 200 pixels square.
#[must_use]
pub fn avatar(seed: u64) -> Bytes {
    let [r, g, b] = [seed as u8, (seed >> 8) as u8, (seed >> 16) as u8];
    jpeg(&RgbImage::from_fn(200, 200, |x, y| {
        Rgb([r / 2 + x as u8 / 2, g / 2 + y as u8 / 2, b])
    }))
}

/// A landscape of `width` by `height` pixels, another one for each `seed`, as JPEG.
#[must_use]
pub fn photo(seed: u64, width: u32, height: u32) -> Bytes {
    let [r, g, b] = [seed as u8, (seed >> 8) as u8, (seed >> 16) as u8];
    jpeg(&RgbImage::from_fn(width, height, |x, y| {
        Rgb([
            r.wrapping_add((x / 8) as u8),
            g.wrapping_add((y / 8) as u8),
            b,
        ])
    }))
}

/// A smaller version of `picture` as LINE's preview has it; a grey one where it can't be read.
pub(super) fn preview(picture: &[u8]) -> Bytes {
    let read = ImageReader::new(std::io::Cursor::new(picture)).with_guessed_format();
    let image = read.ok().and_then(|reader| reader.decode().ok());
    let image = image.map_or_else(
        || RgbImage::from_pixel(240, 180, Rgb([120; 3])),
        |image| image.thumbnail(384, 384).to_rgb8(),
    );
    jpeg(&image)
}

/// JPEG bytes of `image`.
fn jpeg(image: &RgbImage) -> Bytes {
    let mut bytes = Vec::new();
    // Writing to memory can't fail, and an empty picture would be noticed by whoever looks.
    let _ = JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(image);
    bytes.into()
}
