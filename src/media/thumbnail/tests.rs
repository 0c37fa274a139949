//! Small images are correct, and decompression bombs are refused.

use std::{io::Cursor, time::Instant};

use image::{DynamicImage, ImageFormat, Rgb, Rgba, RgbaImage};

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

/// The smaller picture, if there is one, and the larger.
fn both(previews: &Previews) -> (Option<RgbImage>, RgbImage) {
    let split = previews.smaller.unwrap_or_default();
    let smaller = previews.smaller.map(|_| decoded(&previews.jpegs[..split]));
    (smaller, decoded(&previews.jpegs[split..]))
}

#[test]
fn a_large_image_is_there_at_two_sizes_and_a_small_one_stays() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Gif,
        ImageFormat::WebP,
        ImageFormat::Jpeg,
    ] {
        for (size, one, two) in [
            ((4000, 3000), (320, 240), (640, 480)),
            ((1500, 3000), (180, 360), (360, 720)),
            ((400, 300), (320, 240), (400, 300)),
            ((1200, 2), (320, 1), (640, 1)),
        ] {
            let made = previews(&encoded(RgbImage::new(size.0, size.1), format)).unwrap();
            let (smaller, larger) = both(&made);
            assert_eq!(smaller.unwrap().dimensions(), one, "{format:?} {size:?}");
            assert_eq!(larger.dimensions(), two, "{format:?} {size:?}");
            assert_eq!(made.pixels, two);
        }
    }
    let small = previews(&encoded(RgbImage::new(30, 20), ImageFormat::Png)).unwrap();
    assert_eq!((small.smaller, small.pixels), (None, (30, 20)));
    assert_eq!(decoded(&small.jpegs).dimensions(), (30, 20));
}

#[test]
fn a_jpeg_decoded_small_looks_like_one_decoded_whole() {
    let photo = RgbImage::from_fn(1999, 1501, |x, y| {
        let wave = |by: u32, n: u32| (f64::from(n) / f64::from(by)).sin().mul_add(90.0, 128.0);
        Rgb([wave(90, x) as u8, wave(60, y) as u8, wave(140, x + y) as u8])
    });
    for colours in [
        DynamicImage::ImageRgb8(photo.clone()),
        DynamicImage::ImageRgb8(photo).grayscale(),
    ] {
        let (_, ours) = both(&previews(&encoded(colours.clone(), ImageFormat::Jpeg)).unwrap());
        let plain = colours.resize(640, 720, imageops::Lanczos3).to_rgb8();
        assert_eq!(ours.dimensions(), plain.dimensions());
        let apart: u64 = ours
            .as_raw()
            .iter()
            .zip(plain.as_raw())
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        let mean = apart as f64 / ours.as_raw().len() as f64;
        assert!(mean < 3.0, "{mean} of 255 apart");
    }
}

/// The images are red on the left and blue on the right, and were written by libvips.
#[test]
fn a_jpeg_of_any_kind_is_read() {
    let red = |[r, g, b]: [u8; 3]| r > 180 && g < 100 && b < 100;
    let blue = |[r, g, b]: [u8; 3]| b > 120 && r < 100 && g < 110;
    for (name, jpeg, size) in [
        (
            "in passes",
            &include_bytes!("jpegs/in_passes.jpg")[..],
            (640, 320),
        ),
        (
            "for a printer",
            include_bytes!("jpegs/printed.jpg"),
            (200, 100),
        ),
        (
            "for a printer, in passes",
            include_bytes!("jpegs/printed_in_passes.jpg"),
            (200, 100),
        ),
    ] {
        let made = previews(jpeg).unwrap();
        assert_eq!(made.pixels, size, "{name}");
        let (_, image) = both(&made);
        let [left, right] = [size.0 / 4, size.0 * 3 / 4].map(|x| image.get_pixel(x, size.1 / 2).0);
        assert!(red(left) && blue(right), "{name}: {left:?} {right:?}");
    }
    let grey = previews(include_bytes!("jpegs/grey_in_passes.jpg")).unwrap();
    let (_, image) = both(&grey);
    let [left, right] = [160, 480].map(|x| image.get_pixel(x, 160).0);
    assert!(left[0] == left[1] && left[1] == left[2] && left[0] > right[0]);
}

#[test]
fn an_image_taken_sideways_stands_upright_and_says_nothing_more() {
    let made = previews(&turned(6)).unwrap();
    assert_eq!(made.pixels, (20, 40));
    let (_, upright) = both(&made);
    assert!(upright.get_pixel(10, 5).0[0] > 200, "red is at the top");
    assert!(
        upright.get_pixel(10, 35).0[2] > 200,
        "blue is at the bottom"
    );
    assert!(!made.jpegs.windows(4).any(|window| window == b"Exif"));
    assert_eq!(previews(&turned(1)).unwrap().pixels, (40, 20));
    // The placeholder's colours are upright too.
    assert!(made.colours[0] > 200 && made.colours[2] < 60, "red");
    assert!(made.colours[45] < 60 && made.colours[47] > 200, "blue");
    assert_eq!(made.colours.len(), 48);
}

#[test]
fn what_is_transparent_is_white() {
    let clear = RgbaImage::from_pixel(16, 16, Rgba([0, 0, 0, 0]));
    let made = previews(&encoded(clear, ImageFormat::Png)).unwrap();
    let (_, image) = both(&made);
    assert!(image.get_pixel(8, 8).0.iter().all(|colour| *colour > 250));
    assert!(made.colours.iter().all(|colour| *colour > 250));
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
    let begun = Instant::now();
    for bomb in [
        png(30_000, 30_000),
        png(12_001, 1),
        png(1, 12_001),
        png(11_000, 11_000),
        png(u32::MAX >> 1, 1),
        gif(65_000, 65_000),
    ] {
        assert!(previews(&bomb).is_err());
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
        assert!(previews(bytes).is_err());
    }
}

/// CRC-32 as in PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}
