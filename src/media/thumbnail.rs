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
/// For what a PNG has beside its pixels, unpacked: colour profiles and texts can be bombs as well.
const MOST_BESIDE: u64 = 16 * 1024 * 1024;
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
    limits.max_alloc = Some(match format {
        // Its decoder takes the pixels' memory from us, and from this what it unpacks beside them.
        ImageFormat::Png => MOST_BESIDE,
        _ => MOST_MEMORY,
    });
    let mut reader = reader;
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|_| Unreadable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let own = match format {
        // Its decoder has the whole picture in four channels before it hands it out.
        ImageFormat::WebP => 4 * pixels,
        _ => 0,
    };
    // Not every decoder keeps to the limits it was given.
    let fits = width.max(height) <= LONGEST_SIDE
        && pixels <= MOST_PIXELS
        && decoder.total_bytes() + own <= MOST_MEMORY;
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

#[cfg(test)]
mod tests {
    use std::{io::Cursor, time::Instant};

    use image::{Rgba, RgbaImage};

    use super::*;

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = Cursor::new(&mut bytes);
        image.into().write_to(&mut out, format).unwrap();
        bytes
    }

    /// A JPEG, 40 by 20 pixels, left half red, right half blue, with an EXIF orientation.
    fn turned(orientation: u8) -> Vec<u8> {
        let halves = RgbImage::from_fn(40, 20, |x, _| {
            if x < 20 {
                Rgb([255, 0, 0])
            } else {
                Rgb([0, 0, 255])
            }
        });
        let jpeg = encoded(halves, ImageFormat::Jpeg);
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    }

    fn decoded(jpeg: &[u8]) -> RgbImage {
        image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg)
            .unwrap()
            .to_rgb8()
    }

    #[test]
    fn a_large_image_becomes_small_and_a_small_one_stays() {
        for format in [
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::WebP,
            ImageFormat::Jpeg,
        ] {
            let thumbnail = make(&encoded(RgbImage::new(1200, 300), format), 640).unwrap();
            assert_eq!(thumbnail.pixels, (640, 160), "{format:?}");
            assert_eq!(
                decoded(&thumbnail.jpeg).dimensions(),
                (640, 160),
                "{format:?}"
            );
        }
        let small = make(&encoded(RgbImage::new(30, 20), ImageFormat::Png), 640).unwrap();
        assert_eq!(small.pixels, (30, 20));
    }

    #[test]
    fn an_image_taken_sideways_stands_upright_and_says_nothing_more() {
        let bytes = turned(6);
        assert_eq!(measure(&bytes).unwrap(), ("image/jpeg", (20, 40)));
        let thumbnail = make(&bytes, 640).unwrap();
        assert_eq!(thumbnail.pixels, (20, 40));
        let upright = decoded(&thumbnail.jpeg);
        assert!(upright.get_pixel(10, 5).0[0] > 200, "red is at the top");
        assert!(
            upright.get_pixel(10, 35).0[2] > 200,
            "blue is at the bottom"
        );
        assert!(!thumbnail.jpeg.windows(4).any(|window| window == b"Exif"));
        assert_eq!(measure(&turned(1)).unwrap().1, (40, 20));
    }

    #[test]
    fn what_is_transparent_is_white() {
        let clear = RgbaImage::from_pixel(16, 16, Rgba([0, 0, 0, 0]));
        let thumbnail = make(&encoded(clear, ImageFormat::Png), 640).unwrap();
        assert!(
            decoded(&thumbnail.jpeg)
                .get_pixel(8, 8)
                .0
                .iter()
                .all(|colour| *colour > 250)
        );
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_decoded() {
        let png = |width: u32, height: u32| {
            let mut header = b"IHDR".to_vec();
            header.extend(width.to_be_bytes());
            header.extend(height.to_be_bytes());
            header.extend([8, 6, 0, 0, 0]);
            let check = crc(&header).to_be_bytes();
            [
                b"\x89PNG\r\n\x1a\n\0\0\0\x0d",
                &header[..],
                &check,
                b"\0\0\0\0IDAT\x35\xaf\x06\x1e",
            ]
            .concat()
        };
        let gif = |width: u16, height: u16| {
            let mut gif = b"GIF89a".to_vec();
            gif.extend(width.to_le_bytes());
            gif.extend(height.to_le_bytes());
            gif.extend(*b"\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01\0;");
            gif
        };
        assert_eq!(
            measure(&png(7000, 7000)).unwrap().1,
            (7000, 7000),
            "the limit itself is readable"
        );
        let begun = Instant::now();
        for bomb in [
            png(30_000, 30_000),
            png(12_001, 1),
            png(1, 12_001),
            png(11_000, 11_000),
            png(u32::MAX >> 1, 1),
            gif(65_000, 65_000),
        ] {
            assert!(make(&bomb, 640).is_err());
            assert!(measure(&bomb).is_err());
        }
        assert!(begun.elapsed().as_millis() < 500, "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let photo = encoded(RgbImage::new(300, 300), ImageFormat::Png);
        for bytes in [
            &b""[..],
            b"<svg/>",
            b"%PDF-1.7",
            b"\xff\xd8\xff",
            &photo[..photo.len() / 2],
        ] {
            assert!(make(bytes, 640).is_err());
        }
    }

    /// CRC-32 as PNG has it.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
            })
        })
    }
}
