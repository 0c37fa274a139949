//! Boxes, chunks and checksums.

use std::{io::Write, sync::LazyLock};

use flate2::{Compression, Crc, write::ZlibEncoder};

/// 240 MB of zeros as a stream of zlib's, 240 kB.
pub static ZEROS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let some = vec![0; 1_000_000];
    for _ in 0..240 {
        encoder.write_all(&some).unwrap();
    }
    encoder.finish().unwrap()
});

/// A chunk of a PNG.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    let length = u32::try_from(data.len()).unwrap();
    [
        &length.to_be_bytes()[..],
        kind,
        data,
        &crc.sum().to_be_bytes(),
    ]
    .concat()
}

/// A PNG: `depth` bits for each channel, a colour type, then these chunks.
pub fn png(
    width: u32,
    height: u32,
    [depth, colour, interlaced]: [u8; 3],
    chunks: &[Vec<u8>],
) -> Vec<u8> {
    let (width, height) = (width.to_be_bytes(), height.to_be_bytes());
    let header = [&width[..], &height, &[depth, colour, 0, 0, interlaced]].concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(chunk(b"IHDR", &header));
    png.extend(chunks.concat());
    png.extend(chunk(b"IEND", b""));
    png
}

/// A segment of a JPEG.
pub fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap();
    [&[0xff, marker], &length.to_be_bytes()[..], data].concat()
}

/// A chunk of a RIFF file.
pub fn riff(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let pad = &[0][..data.len() % 2];
    [kind, &length.to_le_bytes()[..], data, pad].concat()
}

/// A box of an MP4.
pub fn mp4(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 8).unwrap();
    [&length.to_be_bytes()[..], kind, data].concat()
}
