//! Generated pictures, so that no real photographs of people are needed.

mod avatars;
mod canvas;
mod landscapes;
mod things;

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, RgbImage};

use canvas::Canvas;

/// The number of drawn pixels for each pixel that is kept, along each side (supersampling, for smooth edges).
const FINENESS: u32 = 2;

/// The subject of a drawn photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// A sunset behind hills.
    Sunset,
    /// Mountains and their reflection.
    Lake,
    /// A city at night.
    City,
    /// A beach with a parasol, seen from the water's edge.
    Beach,
    /// A bowl of ramen, from above.
    Ramen,
    /// A cup of coffee, from above.
    Coffee,
    /// A tote bag.
    Bag,
    /// A receipt on a table.
    Receipt,
    /// A parcel with a torn corner.
    Parcel,
    /// Flowers in a vase.
    Flowers,
}

const SCENES: [Scene; 10] = {
    use Scene::{Bag, Beach, City, Coffee, Flowers, Lake, Parcel, Ramen, Receipt, Sunset};
    [
        Sunset, Lake, City, Beach, Ramen, Coffee, Bag, Receipt, Parcel, Flowers,
    ]
};

/// A photo of a scene that `seed` chooses, `width` by `height` pixels, as JPEG; each `seed` gives another picture.
#[must_use]
pub fn photo(seed: u64, width: u32, height: u32) -> Bytes {
    scene(
        SCENES[(seed % SCENES.len() as u64) as usize],
        seed,
        width,
        height,
    )
}

/// A photo of this scene, `width` by `height` pixels, as JPEG; each `seed` gives another picture.
#[must_use]
pub fn scene(scene: Scene, seed: u64, width: u32, height: u32) -> Bytes {
    let mut canvas = Canvas::new(width * FINENESS, height * FINENESS, seed);
    match scene {
        Scene::Sunset => landscapes::sunset(&mut canvas),
        Scene::Lake => landscapes::lake(&mut canvas),
        Scene::City => landscapes::city(&mut canvas),
        Scene::Beach => landscapes::beach(&mut canvas),
        Scene::Ramen => things::ramen(&mut canvas),
        Scene::Coffee => things::coffee(&mut canvas),
        Scene::Bag => things::bag(&mut canvas),
        Scene::Receipt => things::receipt(&mut canvas),
        Scene::Parcel => things::parcel(&mut canvas),
        Scene::Flowers => things::flowers(&mut canvas),
    }
    developed(canvas, width, height)
}

/// A two-tone profile picture, 200 by 200 pixels, as JPEG; each `seed` gives another picture.
#[must_use]
pub fn avatar(seed: u64) -> Bytes {
    let mut canvas = Canvas::new(200 * FINENESS, 200 * FINENESS, seed);
    avatars::draw(&mut canvas);
    developed(canvas, 200, 200)
}

/// A smaller version of `picture`, like LINE's previews; a grey one if `picture` can't be decoded.
pub(super) fn preview(picture: &[u8]) -> Bytes {
    let read = ImageReader::new(Cursor::new(picture)).with_guessed_format();
    match read.ok().and_then(|reader| reader.decode().ok()) {
        Some(image) => jpeg(&image.thumbnail(384, 384).into_rgb8().into()),
        None => jpeg(&RgbImage::from_pixel(240, 180, image::Rgb([120; 3])).into()),
    }
}

fn developed(canvas: Canvas, width: u32, height: u32) -> Bytes {
    jpeg(&DynamicImage::from(canvas.into_image()).thumbnail_exact(width, height))
}

fn jpeg(image: &DynamicImage) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    // Writing to memory can't fail, and a test would notice an empty picture.
    let _ = image.write_to(&mut bytes, ImageFormat::Jpeg);
    bytes.into_inner().into()
}
