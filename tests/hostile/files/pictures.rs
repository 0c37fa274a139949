//! Bombs, broken pictures, and pictures with more in them than a picture.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use super::{
    Hostile,
    Sent::Image,
    bytes::{ZEROS, chunk, png, riff, segment},
};

pub fn all(script: &str) -> Vec<Hostile> {
    [pngs(script), gifs(script), jpegs(script), webps(script)]
        .into_iter()
        .flatten()
        .collect()
}

/// A harmless picture to do something to.
pub fn picture(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8 * 4, y as u8 * 6, 90]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    [1, 3, 8, 20, 40, 90]
        .map(|hundredths| bytes[..(bytes.len() * hundredths / 100).max(1)].to_vec())
        .into_iter()
}

fn pngs(script: &str) -> Vec<Hostile> {
    let idat = || chunk(b"IDAT", &ZEROS);
    let mut files: Vec<Vec<u8>> = vec![];
    for (width, height, depth, colour) in [
        (30_000, 30_000, 8, 6),
        (30_000, 30_000, 1, 0),
        (65_535, 65_535, 8, 2),
        (u32::MAX >> 1, 1, 8, 6),
        (1, u32::MAX >> 1, 8, 6),
        (u32::MAX, u32::MAX, 16, 6),
        (0, 0, 8, 6),
        (12_001, 1, 8, 6),
        (1, 12_001, 8, 6),
        (10_000, 10_000, 1, 3),
        // What is just within the limits, and has all its pixels.
        (7_000, 7_000, 8, 6),
        (12_000, 4_100, 8, 2),
        (7_000, 7_000, 1, 0),
        (5_000, 5_000, 16, 6),
        (7, 7, 9, 9),
    ] {
        files.push(png(width, height, [depth, colour, 0], &[idat()]));
    }
    files.push(png(5_000, 5_000, [8, 6, 1], &[idat()]));
    let profile = [&b"p\0\0"[..], &ZEROS].concat();
    files.push(png(
        7_000,
        7_000,
        [8, 6, 0],
        &[chunk(b"iCCP", &profile), idat()],
    ));
    // A small one with more data than pixels, and bombs beside the pixels.
    let text = [&b"Comment\0\0"[..], &ZEROS].concat();
    let international = [&b"Comment\0\x01\0\0\0"[..], &ZEROS].concat();
    for extra in [
        vec![],
        chunk(b"iCCP", &profile),
        chunk(b"zTXt", &text),
        vec![chunk(b"zTXt", &text); 5].concat(),
        chunk(b"iTXt", &international),
        chunk(
            b"tEXt",
            format!("Comment\0</p><script>{script}</script>").as_bytes(),
        ),
        chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        chunk(b"tRNS", &[0; 4096]),
        chunk(b"PLTE", &[0; 768]),
        chunk(b"acTL", &[0, 1, 0x86, 0xa0, 0, 0, 0, 0]),
        b"\xff\xff\xff\xfftEXtComment".to_vec(),
        b"\0\0\0\x04gAMA\0\0\0\0\0\0\0\0".to_vec(),
    ] {
        files.push(png(8, 8, [8, 6, 0], &[extra, idat()]));
    }
    // Ten thousand frames.
    let frame = |n: u32| {
        let fields: Vec<u8> = [n, 8, 8, 0, 0]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        chunk(b"fcTL", &[&fields[..], &[0, 1, 0, 100, 0, 0]].concat())
    };
    let mut frames = vec![chunk(b"acTL", &[0, 0, 0x27, 0x10, 0, 0, 0, 0])];
    frames.extend((0..10_000).map(frame));
    frames.push(idat());
    files.push(png(8, 8, [8, 6, 0], &frames));
    let whole = picture(ImageFormat::Png);
    files.extend(cuts(&whole));
    files.push([&whole[..], format!("<script>{script}</script>").as_bytes()].concat());
    named("png", "image/png", files)
}

fn gif(width: u16, height: u16, blocks: &[u8]) -> Vec<u8> {
    let mut gif = b"GIF89a".to_vec();
    gif.extend(width.to_le_bytes());
    gif.extend(height.to_le_bytes());
    gif.extend(*b"\x80\0\0\0\0\0\xff\xff\xff");
    gif.extend(blocks);
    gif.push(b';');
    gif
}

/// A frame without a pixel.
fn frame(width: u16, height: u16) -> Vec<u8> {
    let mut frame = b"!\xf9\x04\0\x01\0\0\0,\0\0\0\0".to_vec();
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    frame.extend(*b"\0\x02\x02L\x01\0");
    frame
}

fn gifs(script: &str) -> Vec<Hostile> {
    let comment = |text: &str| {
        let mut block = b"!\xfe".to_vec();
        for part in text.as_bytes().chunks(255) {
            block.push(part.len() as u8);
            block.extend(part);
        }
        block.push(0);
        block
    };
    let markup = format!("<script>{script}</script>");
    let mut files = vec![
        gif(65_535, 65_535, &frame(1, 1)),
        gif(1, 1, &frame(65_535, 65_535)),
        gif(12_000, 4_000, &frame(12_000, 4_000)),
        gif(7_000, 7_000, &frame(1, 1)),
        gif(0, 0, &frame(0, 0)),
        gif(4_000, 4_000, &frame(4_000, 4_000).repeat(500)),
        gif(10, 10, &frame(10, 10).repeat(10_000)),
        gif(600, 600, &frame(65_000, 65_000).repeat(50)),
        gif(10, 10, &b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0".repeat(5_000)),
        gif(10, 10, &comment(&markup)),
        gif(10, 10, &comment(&markup.repeat(2_000))),
        gif(10, 10, b",\0\0\0\0\x0a\0\x0a\0\0\x0c\xff"),
        gif(10, 10, b""),
        // A script that begins with what a GIF begins with.
        format!("GIF89a/*\0\0*/=1;{script};//").into_bytes(),
        format!("GIF87a=1;{script}").into_bytes(),
        format!("GIF89a<html><script>{script}</script>").into_bytes(),
    ];
    let whole = picture(ImageFormat::Gif);
    files.extend(cuts(&whole));
    files.push([&whole[..], b"PK\x03\x04", markup.as_bytes()].concat());
    named("gif", "image/gif", files)
}

/// The same JPEG with segments after its beginning.
fn with(segments: &[u8]) -> Vec<u8> {
    let jpeg = picture(ImageFormat::Jpeg);
    [&jpeg[..2], segments, &jpeg[2..]].concat()
}

fn jpegs(script: &str) -> Vec<Hostile> {
    let whole = picture(ImageFormat::Jpeg);
    let sized = |width: u16, height: u16| {
        let mut jpeg = whole.clone();
        let at = jpeg.windows(2).position(|two| two == b"\xff\xc0").unwrap() + 5;
        jpeg[at..at + 2].copy_from_slice(&height.to_be_bytes());
        jpeg[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
        jpeg
    };
    let mut files: Vec<Vec<u8>> = [
        (65_500, 65_500),
        (65_535, 1),
        (0, 0),
        (60, 0),
        (12_000, 4_100),
        (7_000, 7_000),
        (12_001, 10),
    ]
    .map(|(width, height)| sized(width, height))
    .into();
    let exif = |tiff: &[u8]| with(&segment(0xe1, &[b"Exif\0\0", tiff].concat()));
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        let (tag, kind) = (tag.to_le_bytes(), kind.to_le_bytes());
        [&tag[..], &kind, &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let ifd = |entries: &[Vec<u8>], next: u32| {
        let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
        [
            b"II*\0\x08\0\0\0",
            &count[..],
            &entries.concat(),
            &next.to_le_bytes(),
        ]
        .concat()
    };
    for orientation in [0, 9, 255, 65_535] {
        files.push(exif(&ifd(&[entry(0x112, 3, 1, orientation)], 0)));
    }
    files.extend([
        exif(b""),
        exif(b"II"),
        exif(b"II*\0\xff\xff\xff\xff"),
        exif(b"II*\0\0\0\0\0"),
        exif(&ifd(&[], 8)),
        exif(&ifd(&[entry(0x112, 3, u32::MAX, u32::MAX)], 8)),
        exif(&ifd(&[entry(0x8769, 4, 1, 8), entry(0x8825, 4, 1, 8)], 8)),
        exif(&ifd(&vec![entry(0x112, 5, 1 << 30, 8); 5_000], 8)),
        exif(&ifd(
            &[entry(0x201, 4, 1, 0), entry(0x202, 4, 1, u32::MAX)],
            8,
        )),
        exif(&ifd(&[entry(0x10e, 2, u32::MAX, 12)], 0)),
    ]);
    let markup = format!("<html><script>{script}</script>");
    let profile = |n: u8| {
        let head = [&b"ICC_PROFILE\0"[..], &[n, 40]].concat();
        segment(0xe2, &[&head[..], &[0; 65_000]].concat())
    };
    let profiles: Vec<u8> = (1..=40).flat_map(profile).collect();
    files.extend([
        with(&profiles),
        with(&segment(0xe2, b"ICC_PROFILE\0\xff\0")),
        with(&segment(0xfe, markup.as_bytes())),
        with(&segment(
            0xe1,
            format!("http://ns.adobe.com/xap/1.0/\0{markup}").as_bytes(),
        )),
        with(&segment(0xfe, b"x").repeat(20_000)),
        // The length of a comment that is the beginning of a script's comment.
        [
            &b"\xff\xd8\xff\xfe/*"[..],
            &[b' '; 12_072],
            format!("*/=1;{script}//").as_bytes(),
            &whole[2..],
        ]
        .concat(),
        [&whole[..], b"PK\x03\x04\x14\0", markup.as_bytes()].concat(),
        [b"\xff\xd8\xff", markup.as_bytes()].concat(),
        [b"\xff\xd8", &[0xff; 50_000][..]].concat(),
        b"\xff\xd8\xff\xda\0\0".to_vec(),
    ]);
    // Scan after scan over the same pixels.
    let scan = whole.windows(2).position(|two| two == b"\xff\xda").unwrap();
    let end = whole.len() - 2;
    files.push(
        [
            &whole[..end],
            &whole[scan..end].repeat(3_000),
            &whole[end..],
        ]
        .concat(),
    );
    files.extend(cuts(&whole));
    named("jpg", "image/jpeg", files)
}

/// A lossless WebP of one colour: a code of one word needs no bit for a pixel, so that any size fits into 25 bytes.
fn one_colour(width: u32, height: u32) -> Vec<u8> {
    // Width and height less one, no alpha, version 0; no transform, no cache, one group; five codes of one word, 0.
    let head = u64::from(width - 1) | u64::from(height - 1) << 14;
    let codes = (0..5).fold(0_u64, |codes, n| codes | 1 << (32 + 3 + 4 * n));
    let data = [&[0x2f][..], &(head | codes).to_le_bytes(), &[0; 8]].concat();
    webp(&riff(b"VP8L", &data))
}

fn webp(chunks: &[u8]) -> Vec<u8> {
    riff(b"RIFF", &[b"WEBP", chunks].concat())
}

fn webps(script: &str) -> Vec<Hostile> {
    let extended =
        |flags: u8, side: [u8; 3]| riff(b"VP8X", &[&[flags, 0, 0, 0][..], &side, &side].concat());
    let whole = picture(ImageFormat::WebP);
    let inner = &whole[12..];
    let still = riff(b"ANMF", &[&[0; 16], inner].concat());
    let mut files = vec![
        one_colour(16_384, 16_384),
        one_colour(12_000, 4_100),
        one_colour(7_000, 7_000),
        one_colour(1, 1),
        webp(&[extended(0, [255; 3]), inner.to_vec()].concat()),
        webp(&[extended(0x3e, [59, 0, 0]), inner.to_vec()].concat()),
        webp(
            &[
                extended(2, [59, 0, 0]),
                riff(b"ANIM", &[0; 6]),
                still.repeat(3_000),
            ]
            .concat(),
        ),
        webp(
            &[
                extended(0x20, [59, 0, 0]),
                riff(b"ICCP", &vec![0; 1_000_000]),
                inner.to_vec(),
            ]
            .concat(),
        ),
        webp(
            &[
                extended(8, [59, 0, 0]),
                inner.to_vec(),
                riff(b"EXIF", b"II*\0\xff\xff\xff\xff"),
            ]
            .concat(),
        ),
        webp(
            &[
                extended(4, [59, 0, 0]),
                inner.to_vec(),
                riff(b"XMP ", format!("<script>{script}</script>").as_bytes()),
            ]
            .concat(),
        ),
        webp(b"VP8L\xff\xff\xff\xff/"),
        webp(b"VP8 \x0a\0\0\0\x10\0\0\x9d\x01*\xff\xff\xff\xff"),
        [b"RIFF\xff\xff\xff\xffWEBP", inner].concat(),
        // To HTML, "RIFF" is a word like any other.
        format!("RIFF\0\0\0\0WEBP<script>{script}</script>").into_bytes(),
    ];
    files.extend(cuts(&whole));
    named("webp", "image/webp", files)
}

fn named(ending: &str, declared: &'static str, files: Vec<Vec<u8>>) -> Vec<Hostile> {
    let one = |(n, bytes)| Hostile::new(format!("{n}.{ending}"), Image, declared, bytes);
    files.into_iter().enumerate().map(one).collect()
}
