//! Films, sounds, archives, programs, and formats that nobody here decodes.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::{
    Hostile,
    Sent::{Audio, File, Image, Video},
    bytes::{ZEROS, mp4, riff},
};

pub fn all(script: &str, canary: &str) -> Vec<Hostile> {
    [
        begun(script),
        films(script, canary),
        sounds(script, canary),
        archives(script),
        giants(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A page that begins as something which is shown.
fn begun(script: &str) -> Vec<Hostile> {
    let begins: [(&str, &[u8]); 12] = [
        ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("gif", b"GIF89a\x01\0\x01\0"),
        ("webp", b"RIFF\x24\0\0\0WEBPVP8 "),
        ("mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
        ("m4a", b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42"),
        ("mp3", b"ID3\x04\0\0\0\0\0\0"),
        ("mpeg", b"\xff\xfb\x90\0"),
        ("aac", b"\xff\xf1\x50\x80"),
        ("ogg", b"OggS\0\x02\0\0\0\0\0\0\0\0"),
        ("bmp", b"BM\0\0\0\0\0\0\0\0\x36\0\0\0"),
        ("flac", b"fLaC\0\0\0\x22"),
    ];
    let mut files = vec![];
    for (name, begin) in begins {
        let page = format!("<!doctype html><html><script>{script}</script>");
        let bytes = [begin, page.as_bytes()].concat();
        files.push(Hostile::new(
            format!("{name}.html"),
            File,
            "text/html",
            bytes.clone(),
        ));
        files.push(Hostile::new(
            format!("{name}.html"),
            Image,
            "text/html",
            bytes,
        ));
    }
    files
}

fn films(script: &str, canary: &str) -> Vec<Hostile> {
    let brand = mp4(b"ftyp", b"mp42\0\0\0\0mp42isom");
    let named = format!("<script>{script}</script>");
    let name = mp4(
        b"\xa9nam",
        &mp4(
            b"data",
            &[&[0, 0, 0, 1, 0, 0, 0, 0], named.as_bytes()].concat(),
        ),
    );
    let elsewhere = mp4(
        b"dinf",
        &mp4(
            b"dref",
            &[
                &[0, 0, 0, 0, 0, 0, 0, 1][..],
                &mp4(b"url ", &[&[0; 4], canary.as_bytes()].concat()),
            ]
            .concat(),
        ),
    );
    let nested = (0..10_000).fold(vec![], |inner: Vec<u8>, _| {
        // The innermost 64 kB are enough; each level repeats them.
        mp4(b"moov", &inner[..inner.len().min(65_000)])
    });
    let films: Vec<(&str, Vec<u8>)> = vec![
        ("named.mp4", [&brand[..], &mp4(b"moov", &mp4(b"udta", &mp4(b"meta", &mp4(b"ilst", &name))))].concat()),
        ("elsewhere.mp4", [&brand[..], &mp4(b"moov", &mp4(b"trak", &mp4(b"mdia", &mp4(b"minf", &elsewhere))))].concat()),
        ("nested.mp4", [&brand[..], &nested].concat()),
        ("none.mp4", [&brand[..], b"\0\0\0\0moov"].concat()),
        ("large.mp4", [&brand[..], b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"].concat()),
        ("small.mp4", [&brand[..], b"\0\0\0\x02moov"].concat()),
        ("samples.mp4", [&brand[..], &mp4(b"moov", &mp4(b"stco", b"\0\0\0\0\xff\xff\xff\xff"))].concat()),
        ("long.mp4", [&brand[..], &mp4(b"moov", &mp4(b"mvhd", &[0xff; 100]))].concat()),
        ("moov.mp4", [&brand[..], &mp4(b"moov", &[]).repeat(20_000)].concat()),
        ("brand.mp4", mp4(b"ftyp", &[0xff; 60_000])),
        ("list.mp4", format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{canary}a.ts\n#EXT-X-ENDLIST").into_bytes()),
        ("list.mpd", format!("<MPD><BaseURL>{canary}</BaseURL></MPD>").into_bytes()),
        ("x.webm", b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff\x42\x82\x84webm".to_vec()),
        ("x.avi", riff(b"RIFF", b"AVI LIST\xff\xff\xff\xffhdrl")),
        ("x.asx", format!("<asx><entry><ref href='{canary}'/></entry></asx>").into_bytes()),
    ];
    films
        .into_iter()
        .map(|(name, bytes)| {
            Hostile::new(
                name,
                Video,
                if name == "list.mp4" {
                    "application/vnd.apple.mpegurl"
                } else {
                    "video/mp4"
                },
                bytes,
            )
        })
        .collect()
}

fn sounds(script: &str, canary: &str) -> Vec<Hostile> {
    let tag = |frame: &[u8]| [b"ID3\x04\0\0\0\0\x10\0", frame, b"\xff\xfb\x90\0"].concat();
    let linked = format!("APIC\0\0\0\x40\0\0\0-->\0\u{3}\0{canary}");
    let titled = format!("TIT2\0\0\0\x7f\0\0\x03<script>{script}</script>");
    let sounds: Vec<(&str, Vec<u8>)> = vec![
        ("linked.mp3", tag(linked.as_bytes())),
        ("titled.mp3", tag(titled.as_bytes())),
        ("large.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec()),
        ("x.wav", riff(b"RIFF", b"WAVEfmt \xff\xff\xff\xff")),
        ("x.ogg", [&b"OggS\0\x02"[..], &[0xff; 3_000]].concat()),
        ("x.m3u", format!("#EXTM3U\n{canary}").into_bytes()),
        ("x.pls", format!("[playlist]\nFile1={canary}").into_bytes()),
        (
            "x.m4a",
            [
                mp4(b"ftyp", b"M4A \0\0\0\0M4A mp42"),
                mp4(b"moov", &mp4(b"mvhd", &[0xff; 100])),
            ]
            .concat(),
        ),
    ];
    sounds
        .into_iter()
        .map(|(name, bytes)| Hostile::new(name, Audio, "audio/x-m4a", bytes))
        .collect()
}

fn archives(script: &str) -> Vec<Hostile> {
    let mut gz = GzEncoder::new(vec![], Compression::default());
    gz.write_all(&ZEROS).unwrap();
    let gz = gz.finish().unwrap();
    let mut svgz = GzEncoder::new(vec![], Compression::default());
    write!(
        svgz,
        "<svg xmlns='http://www.w3.org/2000/svg' onload=\"{script}\"/>"
    )
    .unwrap();
    let svgz = svgz.finish().unwrap();
    // One file, as a ZIP says it: method, sizes, name.
    let zip = |name: &str, size: u32, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap();
        let mut zip = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
        zip.extend(length.to_le_bytes());
        zip.extend(size.to_le_bytes());
        zip.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        zip.extend([0, 0]);
        zip.extend(name.as_bytes());
        zip.extend(data);
        zip
    };
    let raw = &ZEROS[2..ZEROS.len() - 4];
    let files: Vec<(&str, &'static str, Vec<u8>)> = vec![
        (
            "bomb.zip",
            "application/zip",
            zip("zeros", 240_000_000, raw),
        ),
        ("photo.jpg", "image/jpeg", zip("zeros", u32::MAX, raw)),
        (
            "slip.zip",
            "application/zip",
            zip("../../../../etc/cron.d/x", 3, b"abc"),
        ),
        (
            "x.jar",
            "application/java-archive",
            zip("META-INF/MANIFEST.MF", 3, b"abc"),
        ),
        (
            "x.docm",
            "application/vnd.ms-word",
            zip("word/vbaProject.bin", 3, b"abc"),
        ),
        ("bomb.gz", "application/gzip", gz),
        ("x.svgz", "image/svg+xml", svgz),
        (
            "x.exe",
            "application/x-msdownload",
            [&b"MZ\x90\0"[..], &[0; 60], b"PE\0\0"].concat(),
        ),
        (
            "x.elf",
            "application/x-executable",
            b"\x7fELF\x02\x01\x01\0".to_vec(),
        ),
        (
            "x.lnk",
            "application/octet-stream",
            b"L\0\0\0\x01\x14\x02\0".to_vec(),
        ),
        ("x.wasm", "application/wasm", b"\0asm\x01\0\0\0".to_vec()),
        ("x.sh", "text/x-sh", b"#!/bin/sh\nrm -rf /".to_vec()),
        ("empty", "image/png", vec![0]),
    ];
    let mut hostile = vec![];
    for (name, declared, bytes) in files {
        hostile.push(Hostile::new(name, File, declared, bytes.clone()));
        let declared = super::markup::hidden(declared, "image/png");
        hostile.push(Hostile::new(name, Image, declared, bytes));
    }
    hostile
}

/// Pictures of formats that are none of ours, larger than anything.
fn giants() -> Vec<Hostile> {
    let big = [0xff_u8, 0xff, 0xff, 0x7f];
    let files: Vec<(&str, &'static str, Vec<u8>)> = vec![
        (
            "x.bmp",
            "image/bmp",
            [
                &b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"[..],
                &big,
                &big,
                b"\x01\0\x20\0",
            ]
            .concat(),
        ),
        (
            "x.tif",
            "image/tiff",
            [
                &b"II*\0\x08\0\0\0\x02\0\0\x01\x04\0\x01\0\0\0"[..],
                &big,
                b"\x01\x01\x04\0\x01\0\0\0",
                &big,
            ]
            .concat(),
        ),
        (
            "x.ico",
            "image/x-icon",
            b"\0\0\x01\0\xff\xff\0\0\0\0".to_vec(),
        ),
        (
            "x.psd",
            "image/vnd.adobe.photoshop",
            [&b"8BPS\0\x01\0\0\0\0\0\0\0\x04"[..], &big, &big].concat(),
        ),
        (
            "x.avif",
            "image/avif",
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1\0\0\0\0meta".to_vec(),
        ),
        (
            "x.heic",
            "image/heic",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(),
        ),
        ("x.jp2", "image/jp2", b"\0\0\0\x0cjP  \r\n\x87\n".to_vec()),
        ("x.jxl", "image/jxl", b"\xff\x0a\xff\xff\xff".to_vec()),
    ];
    files
        .into_iter()
        .map(|(name, declared, bytes)| Hostile::new(name, Image, declared, bytes))
        .collect()
}
