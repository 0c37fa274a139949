//! Decodes images from untrusted sources: measures them before it decodes them, and decodes them no larger than needed.
//! Nearly every photo is a JPEG. A JPEG is decoded at an eighth, a quarter or half of its size, by leaving out detail
//! that is too fine to be visible (a smaller inverse DCT). For 12 megapixels this takes half the time of decoding the
//! whole image, and keeps a sixteenth of the pixels in memory. `jpeg-decoder` is the only Rust decoder that can do
//! this. libjpeg-turbo takes half of its time, but is C code that would read untrusted bytes, and is built with cmake
//! and nasm. `docs/benchmarks.md` has the figures.

use std::io::Cursor;

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage,
    metadata::Orientation,
};
use jpeg_decoder::{CodingProcess, Decoder, PixelFormat};

const LONGEST_SIDE: u32 = 12_000;
const MOST_PIXELS: u64 = 50_000_000;
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
/// Bytes of unpacked PNG data other than pixels: colour profiles and texts can be decompression bombs as well.
const MAX_PNG_METADATA_BYTES: u64 = 16 * 1024 * 1024;

/// Limit in bytes for coefficients: six bytes a pixel, so 16 megapixels. The decoder holds all coefficients of a
/// progressive JPEG. It may also hold all of another JPEG that is quick to unpack and slow to compute, because its
/// threads have no backpressure.
const MAX_COEFFICIENT_BYTES: u64 = 96 * 1024 * 1024;

/// The bytes are not an image that can be decoded within the limits.
#[derive(Debug)]
pub struct Unreadable;

/// Width and height, in pixels.
pub(super) type Size = (u32, u32);

/// Decodes `bytes` and scales the image down to fit `room`: upright, on white, without metadata. Never enlarges.
pub(super) fn decode(bytes: &[u8], room: Size) -> Result<RgbImage, Unreadable> {
    let (format, mut decoder) = open(bytes)?;
    let orientation = decoder.orientation().map_err(|_| Unreadable)?;
    let swaps_sides = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let room = if swaps_sides { (room.1, room.0) } else { room };
    let size = decoder.dimensions();
    let wanted = within(size, room);
    let scaled = match format {
        ImageFormat::Jpeg => scaled(bytes, size, wanted),
        _ => None,
    };
    let small = match scaled {
        Some(image) => shrink(&image, wanted)?,
        // `image` can read some JPEGs that `jpeg-decoder` cannot, for example CMYK ones.
        None => {
            let whole = DynamicImage::from_decoder(decoder).map_err(|_| Unreadable)?;
            match size == wanted {
                true => on_white(&whole),
                // Averages pixels without a copy: a fully decoded image may already use most of the memory limit.
                false => on_white(&whole.thumbnail_exact(wanted.0, wanted.1)),
            }
        }
    };
    let mut image = DynamicImage::ImageRgb8(small);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Scales the image to the size `to`; returns a copy if it has that size already.
pub(super) fn shrink(image: &RgbImage, to: Size) -> Result<RgbImage, Unreadable> {
    if image.dimensions() == to {
        return Ok(image.clone());
    }
    let (width, height) = image.dimensions();
    let from = ImageRef::new(width, height, image.as_raw(), PixelType::U8x3);
    let mut small = Image::new(to.0, to.1, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new()
        .resize(&from.map_err(|_| Unreadable)?, &mut small, &options)
        .map_err(|_| Unreadable)?;
    RgbImage::from_raw(to.0, to.1, small.into_vec()).ok_or(Unreadable)
}

/// The largest size with the same aspect ratio that fits `room` and is not larger than `size`.
pub(super) fn within(size: Size, room: Size) -> Size {
    let (width, height) = (f64::from(size.0.max(1)), f64::from(size.1.max(1)));
    let scale = (f64::from(room.0) / width)
        .min(f64::from(room.1) / height)
        .min(1.0);
    let side = |side: f64| ((side * scale).round() as u32).max(1);
    (side(width), side(height))
}

/// Decodes a JPEG at the smallest scale that is not below `wanted`; `None` if `image` has to decode it.
fn scaled(bytes: &[u8], size: Size, wanted: Size) -> Option<RgbImage> {
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(MOST_MEMORY).ok()?);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    let pixels = u64::from(info.width) * u64::from(info.height);
    let as_measured = (u32::from(info.width), u32::from(info.height)) == size;
    if !as_measured
        || 6 * pixels > MAX_COEFFICIENT_BYTES
        || info.coding_process == CodingProcess::Lossless
    {
        return None;
    }
    let side = |side: u32| u16::try_from(side).ok();
    let (width, height) = decoder.scale(side(wanted.0)?, side(wanted.1)?).ok()?;
    let raw = match info.pixel_format {
        PixelFormat::RGB24 => decoder.decode().ok()?,
        PixelFormat::L8 => decoder
            .decode()
            .ok()?
            .into_iter()
            .flat_map(|l| [l; 3])
            .collect(),
        _ => return None,
    };
    RgbImage::from_raw(width.into(), height.into(), raw)
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
        // The PNG decoder writes pixels into our buffer. This limit covers only other data that it unpacks.
        ImageFormat::Png => MAX_PNG_METADATA_BYTES,
        _ => MOST_MEMORY,
    });
    let mut reader = reader;
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|_| Unreadable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let own = match format {
        // The WebP decoder holds the whole image in four channels before it returns it.
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
