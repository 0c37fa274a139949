//! Pictures that people send and show: cuttings of a few drawn ones, so that no photograph of anybody is needed.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, RgbImage, imageops::FilterType};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// The subject of a photo.
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

/// Every scene.
pub const SCENES: [Scene; 10] = {
    use Scene::{Bag, Beach, City, Coffee, Flowers, Lake, Parcel, Ramen, Receipt, Sunset};
    [
        Sunset, Lake, City, Beach, Ramen, Coffee, Bag, Receipt, Parcel, Flowers,
    ]
};

const AVATARS: [&[u8]; 12] = [
    include_bytes!("assets/avatars/1.jpg"),
    include_bytes!("assets/avatars/2.jpg"),
    include_bytes!("assets/avatars/3.jpg"),
    include_bytes!("assets/avatars/4.jpg"),
    include_bytes!("assets/avatars/5.jpg"),
    include_bytes!("assets/avatars/6.jpg"),
    include_bytes!("assets/avatars/7.jpg"),
    include_bytes!("assets/avatars/8.jpg"),
    include_bytes!("assets/avatars/9.jpg"),
    include_bytes!("assets/avatars/10.jpg"),
    include_bytes!("assets/avatars/11.jpg"),
    include_bytes!("assets/avatars/12.jpg"),
];

impl Scene {
    fn jpeg(self) -> &'static [u8] {
        match self {
            Self::Sunset => include_bytes!("assets/sunset.jpg"),
            Self::Lake => include_bytes!("assets/lake.jpg"),
            Self::City => include_bytes!("assets/city.jpg"),
            Self::Beach => include_bytes!("assets/beach.jpg"),
            Self::Ramen => include_bytes!("assets/ramen.jpg"),
            Self::Coffee => include_bytes!("assets/coffee.jpg"),
            Self::Bag => include_bytes!("assets/bag.jpg"),
            Self::Receipt => include_bytes!("assets/receipt.jpg"),
            Self::Parcel => include_bytes!("assets/parcel.jpg"),
            Self::Flowers => include_bytes!("assets/flowers.jpg"),
        }
    }
}

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

/// A photo of this scene, `width` by `height` pixels, as JPEG. Each `seed` gives another picture: another part of the
/// scene, lighter or darker, and every second one mirrored.
#[must_use]
pub fn scene(scene: Scene, seed: u64, width: u32, height: u32) -> Bytes {
    let mut dice = StdRng::seed_from_u64(seed);
    let whole = decode(scene.jpeg()).unwrap_or_default();
    let largest = f64::from(whole.width()) / f64::from(width);
    let largest = largest.min(f64::from(whole.height()) / f64::from(height));
    let scale = largest * dice.random_range(0.8..1.0);
    let [cut_width, cut_height] = [width, height].map(|side| (f64::from(side) * scale) as u32);
    let left = dice.random_range(0..=whole.width() - cut_width);
    let top = dice.random_range(0..=whole.height() - cut_height);
    let mut cutting = whole
        .crop_imm(left, top, cut_width, cut_height)
        .resize_exact(width, height, FilterType::Triangle)
        .brighten(dice.random_range(-14..=14));
    if dice.random() {
        cutting = cutting.fliph();
    }
    jpeg(&cutting)
}

/// A two-tone profile picture, 200 by 200 pixels, as JPEG: one of twelve.
#[must_use]
pub fn avatar(seed: u64) -> Bytes {
    Bytes::from_static(AVATARS[(seed % AVATARS.len() as u64) as usize])
}

/// A smaller version of `picture`, like LINE's previews; a grey one if `picture` can't be decoded.
pub(super) fn preview(picture: &[u8]) -> Bytes {
    match decode(picture) {
        Some(image) => jpeg(&image.thumbnail(384, 384).into_rgb8().into()),
        None => jpeg(&RgbImage::from_pixel(240, 180, image::Rgb([120; 3])).into()),
    }
}

fn decode(picture: &[u8]) -> Option<DynamicImage> {
    let reader = ImageReader::new(Cursor::new(picture)).with_guessed_format();
    reader.ok()?.decode().ok()
}

fn jpeg(image: &DynamicImage) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    // Writing to memory can't fail, and a test would notice an empty picture.
    let _ = image.write_to(&mut bytes, ImageFormat::Jpeg);
    bytes.into_inner().into()
}
