//! Measures thumbnails a second and the memory of each method: the archive's, plain `image` and `vipsthumbnail`, on the
//! same generated photos of 12 megapixels. `docs/benchmarks.md` explains the output.

mod photos;

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Parser, ValueEnum};
use image::{DynamicImage, ImageReader, codecs::jpeg::JpegEncoder, imageops::FilterType};
use line_chat_archive::media::previews;

/// Measures thumbnails a second of several methods on the same photos.
#[derive(Parser)]
struct Arguments {
    /// Number of photos, of 12 megapixels each; every method takes all of them, one after the other
    #[arg(long, default_value_t = 40)]
    photos: u32,
    /// Only these methods
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Method::ALL)]
    only: Vec<Method>,
    /// Run as this method, on the photos in this directory
    #[arg(long, hide = true, num_args = 2)]
    be: Vec<String>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The archive's method: both sizes, the colours, the right orientation
    Ours,
    /// `image`: whole picture decoded, resized with Lanczos3
    Lanczos,
    /// `image`: whole picture decoded, resized with its own fast sampler
    Sampled,
    /// `vipsthumbnail`, one process for all, one thread
    Vips,
}

impl Method {
    const ALL: [Self; 4] = [Self::Ours, Self::Lanczos, Self::Sampled, Self::Vips];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "**line-chat-archive**",
            Self::Lanczos => "`image`, Lanczos3",
            Self::Sampled => "`image`, its `thumbnail`",
            Self::Vips => "`vipsthumbnail`, the larger size alone",
        }
    }

    fn word(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let [method, directory] = &arguments.be[..] {
        let method = Method::from_str(method, false).map_err(|error| anyhow!(error))?;
        return be(method, Path::new(directory));
    }
    let directory = tempfile::TempDir::with_prefix("thumbnails-")?;
    let (mut bytes, begun) = (0, Instant::now());
    for n in 0..arguments.photos {
        let jpeg = photos::photo(n)?;
        bytes += jpeg.len();
        fs::write(directory.path().join(format!("{n:04}.jpg")), jpeg)?;
    }
    let count = arguments.photos as usize;
    say(&format!(
        "{count} photos of 4000 by 3000 pixels, {:.2} MB each, made in {:.0} s\n",
        bytes as f64 / count as f64 / 1e6,
        begun.elapsed().as_secs_f64()
    ));
    say("| method | photos/s | ms each | CPU ms each | peak MiB |\n|---|--:|--:|--:|--:|");
    for method in arguments.only {
        match measure(method, directory.path(), count)? {
            Some(row) => say(&row),
            None => say(&format!("| {} | not installed | | | |", method.name())),
        }
    }
    Ok(())
}

/// Runs one method in its own process. `None`: it is not installed.
fn measure(method: Method, directory: &Path, photos: usize) -> Result<Option<String>> {
    let mut command = match method {
        Method::Vips => {
            let mut command = Command::new("vipsthumbnail");
            command
                .args(["--size", "640x720", "--output", "%s-vips.jpg[Q=80,strip]"])
                .args(files(directory)?)
                .env("VIPS_CONCURRENCY", "1");
            command
        }
        _ => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--be").arg(method.word()).arg(directory);
            command
        }
    };
    let begun = Instant::now();
    let child = match command.stdout(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(_) if method == Method::Vips => return Ok(None),
        Err(error) => return Err(error).context("a process"),
    };
    let (cpu, peak) = watch(child)?;
    let seconds = begun.elapsed().as_secs_f64();
    let each = |seconds: f64| seconds * 1000.0 / photos as f64;
    Ok(Some(format!(
        "| {} | {:.1} | {:.1} | {:.1} | {:.0} |",
        method.name(),
        photos as f64 / seconds,
        each(seconds),
        each(cpu),
        peak / 1024.0
    )))
}

/// Waits for a process. Returns its processor time in seconds, and the peak of its memory in KiB. Linux reports both
/// only while the process lives, so its last few milliseconds are not included.
fn watch(mut child: Child) -> Result<(f64, f64)> {
    let (id, mut cpu, mut peak) = (child.id(), 0.0, 0.0_f64);
    loop {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        let status = read("status");
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(high.unwrap_or_default());
        let stat = read("stat");
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        cpu = f64::max(cpu, ticks / 100.0);
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "it failed: {status}");
            return Ok((cpu, peak));
        }
        sleep(Duration::from_millis(2));
    }
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    for entry in fs::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.retain(|file| !file.to_string_lossy().ends_with("-vips.jpg"));
    files.sort();
    Ok(files)
}

/// Makes the previews of all photos, and does nothing else.
fn be(method: Method, directory: &Path) -> Result<()> {
    for file in files(directory)? {
        let bytes = fs::read(file)?;
        let made = match method {
            Method::Ours => {
                let made = previews(&bytes).map_err(|_| anyhow!("it cannot be read"))?;
                ensure!(made.pixels == (640, 480));
                made.jpegs.len()
            }
            Method::Lanczos => plain(&bytes, |image, width, height| {
                image.resize(width, height, FilterType::Lanczos3)
            })?,
            Method::Sampled => plain(&bytes, DynamicImage::thumbnail)?,
            Method::Vips => 0,
        };
        ensure!(made > 10_000, "{made} bytes");
    }
    Ok(())
}

/// Makes the larger size of the photo, and the smaller one from that, each as JPEG. Returns the bytes of both.
fn plain(bytes: &[u8], resize: impl Fn(&DynamicImage, u32, u32) -> DynamicImage) -> Result<usize> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let large = resize(&reader.decode()?, 640, 720);
    let small = resize(&large, 320, 360);
    let mut jpegs = vec![];
    for image in [small, large] {
        JpegEncoder::new_with_quality(&mut jpegs, 80).encode_image(&image)?;
    }
    Ok(jpegs.len())
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn say(line: &str) {
    println!("{line}");
}
