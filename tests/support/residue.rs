//! Searches every byte of every file for every mark, in every form that this checker can recognise.
//!
//! Recognised: the mark itself, in UTF-16 of both byte orders, as hexadecimal digits, as base64 (at all three phases,
//! in both alphabets), with every byte as `%4D` or as `\u004D`; all of them in either case; the same in zlib and gzip
//! streams, wherever in a file they begin, nested up to three deep; and in the names of files.
//!
//! Not recognised: PostgreSQL's own compression (PGLZ and LZ4, of large values and of full pages), raw deflate (a ZIP's
//! entries), zlib with a window below 32 KiB, other compressors, pictures of a text. So a mark has to be random,
//! because PGLZ stores data without repetition unchanged.
//! Half a mark counts as a find: PostgreSQL cuts a value at the end of a page of its log or of a chunk of a large
//! value, and if a mark is cut once, one of its halves is whole.
//! A find is reported by the mark's number: the mark itself appears in no output.

use std::{
    fmt, fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use aho_corasick::AhoCorasick;
use base64::{Engine, engine::general_purpose};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// The size of the piece of a file that is searched at once.
const CHUNK: usize = 4 << 20;
/// The limit of the bytes that are inflated from one stream.
const INFLATED: u64 = 64 << 20;
/// The limit of nested streams.
const DEPTH: usize = 3;

/// The form in which a mark was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    Plain,
    Utf16,
    Hex,
    Base64,
    Percent,
    Json,
    /// Not a mark: the beginning of a stream that may contain marks.
    Zlib,
    /// As [`Form::Zlib`].
    Gzip,
}

/// A mark, or half of one, that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    pub path: PathBuf,
    /// The position in the file, or where the stream with the mark begins. `None`: the mark is in the file's name.
    pub offset: Option<u64>,
    pub form: Form,
    /// The number of nested streams that contain the mark.
    pub depth: usize,
    /// The mark's index in the list.
    pub mark: usize,
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            form,
            depth,
            mark,
            ..
        } = self;
        let offset = self
            .offset
            .map_or("its name".to_owned(), |offset| offset.to_string());
        write!(
            f,
            "mark {mark} as {form:?}, {depth} streams deep, in {} at {offset}",
            path.display()
        )
    }
}

/// The extent of a search, and its finds.
#[derive(Debug, Default)]
pub struct Report {
    pub files: usize,
    pub bytes: u64,
    pub found: Vec<Find>,
}

impl Report {
    /// The numbers of the marks that were found, without duplicates.
    pub fn marks(&self) -> Vec<usize> {
        let mut marks: Vec<_> = self.found.iter().map(|find| find.mark).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }
}

/// A searcher for a list of marks.
pub struct Residue {
    patterns: AhoCorasick,
    meaning: Vec<(Form, usize)>,
    longest: usize,
}

impl Residue {
    /// `marks` are random ASCII, 20 characters or more.
    pub fn new(marks: &[String]) -> Self {
        let mut patterns: Vec<Vec<u8>> = vec![
            vec![0x78, 0x01],
            vec![0x78, 0x5e],
            vec![0x78, 0x9c],
            vec![0x78, 0xda],
            vec![0x1f, 0x8b, 0x08],
        ];
        let mut meaning = vec![(Form::Zlib, 0); 4];
        meaning.push((Form::Gzip, 0));
        for (number, mark) in marks.iter().enumerate() {
            assert!(
                mark.is_ascii() && mark.len() >= 20,
                "mark {number} is too short, or not ASCII"
            );
            let (first, second) = mark.split_at(mark.len() / 2);
            for (form, pattern) in forms(first).into_iter().chain(forms(second)) {
                patterns.push(pattern);
                meaning.push((form, number));
            }
        }
        Self {
            longest: patterns.iter().map(Vec::len).max().unwrap_or_default(),
            patterns: AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(patterns)
                .expect("patterns"),
            meaning,
        }
    }

    /// Searches every file in and below `places`. A file that disappears meanwhile is skipped.
    pub fn search(&self, places: &[&Path]) -> io::Result<Report> {
        let mut report = Report::default();
        let mut waiting: Vec<PathBuf> = places.iter().map(|place| (*place).to_owned()).collect();
        while let Some(path) = waiting.pop() {
            let searched = self.enter(&path, &mut waiting, &mut report);
            match searched {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && !places.contains(&&*path) => {}
                searched => searched?,
            }
        }
        Ok(report)
    }

    fn enter(
        &self,
        path: &Path,
        waiting: &mut Vec<PathBuf>,
        report: &mut Report,
    ) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        self.within(name, 0, |_, form, mark| {
            report.found.push(find(path, None, form, 0, mark))
        });
        let kind = fs::symlink_metadata(path)?.file_type();
        if kind.is_dir() {
            for entry in fs::read_dir(path)? {
                waiting.push(entry?.path());
            }
        } else if kind.is_file() {
            report.files += 1;
            report.bytes += self.file(path, &mut report.found)?;
        }
        Ok(())
    }

    /// Reads a file in chunks. Each keeps the end of the previous one, so that a mark across a border is found too.
    fn file(&self, path: &Path, found: &mut Vec<Find>) -> io::Result<u64> {
        let mut file = fs::File::open(path)?;
        let mut chunk = Vec::with_capacity(CHUNK + self.longest);
        let (mut start, mut new) = (0_u64, 0);
        loop {
            let read = (&mut file).take(CHUNK as u64).read_to_end(&mut chunk)?;
            if read == 0 {
                return Ok(start + chunk.len() as u64);
            }
            let mut streams = vec![];
            self.within(&chunk, new, |at, form, mark| {
                let offset = start + at as u64;
                match form {
                    Form::Zlib | Form::Gzip => streams.push((offset, form)),
                    _ => found.push(find(path, Some(offset), form, 0, mark)),
                }
            });
            for (offset, form) in streams {
                let mut stream = fs::File::open(path)?;
                stream.seek(SeekFrom::Start(offset))?;
                self.inflated(&inflate(form, stream), 1, &mut |form, depth, mark| {
                    found.push(find(path, Some(offset), form, depth, mark));
                });
            }
            let keep = chunk.len().min(self.longest - 1);
            start += (chunk.len() - keep) as u64;
            chunk.drain(..chunk.len() - keep);
            new = keep;
        }
    }

    /// Searches inflated bytes, and the streams in them.
    fn inflated(&self, bytes: &[u8], depth: usize, found: &mut dyn FnMut(Form, usize, usize)) {
        let mut streams = vec![];
        self.within(bytes, 0, |at, form, mark| match form {
            Form::Zlib | Form::Gzip => streams.push((at, form)),
            _ => found(form, depth, mark),
        });
        for (at, form) in streams.into_iter().filter(|_| depth < DEPTH) {
            self.inflated(&inflate(form, &bytes[at..]), depth + 1, found);
        }
    }

    /// Reports every pattern that ends after the first `seen` bytes: its start, form and mark.
    fn within(&self, bytes: &[u8], seen: usize, mut found: impl FnMut(usize, Form, usize)) {
        for hit in self
            .patterns
            .find_overlapping_iter(bytes)
            .filter(|hit| hit.end() > seen)
        {
            let (form, mark) = self.meaning[hit.pattern()];
            found(hit.start(), form, mark);
        }
    }
}

fn find(path: &Path, offset: Option<u64>, form: Form, depth: usize, mark: usize) -> Find {
    Find {
        path: path.to_owned(),
        offset,
        form,
        depth,
        mark,
    }
}

/// Inflates a stream until its end, or until an error shows that it is not a stream.
fn inflate(form: Form, stream: impl Read) -> Vec<u8> {
    let mut bytes = vec![];
    let read: &mut dyn Read = match form {
        Form::Gzip => &mut MultiGzDecoder::new(stream),
        _ => &mut ZlibDecoder::new(stream),
    };
    // An error ends the stream; the bytes before it count.
    let _ = read.take(INFLATED).read_to_end(&mut bytes);
    bytes
}

/// `mark` in every form.
pub fn forms(mark: &str) -> Vec<(Form, Vec<u8>)> {
    let each =
        |written: &dyn Fn(u8) -> String| mark.bytes().map(written).collect::<String>().into_bytes();
    let mut forms = vec![
        (Form::Plain, mark.as_bytes().to_vec()),
        (
            Form::Utf16,
            mark.bytes().flat_map(|byte| [byte, 0]).collect(),
        ),
        (
            Form::Utf16,
            mark.bytes().flat_map(|byte| [0, byte]).collect(),
        ),
        (Form::Hex, each(&|byte| format!("{byte:02x}"))),
        (Form::Percent, each(&|byte| format!("%{byte:02x}"))),
        (Form::Json, each(&|byte| format!("\\u{byte:04x}"))),
    ];
    for phase in 0..3 {
        // The first and the last base64 character may depend on neighbouring bytes too. Only characters that the mark
        // alone determines are searched for.
        let whole = [&[0; 2][..phase], mark.as_bytes()].concat();
        let decided = (phase * 8).div_ceil(6)..whole.len() * 8 / 6;
        let standard =
            general_purpose::STANDARD.encode(&whole).as_bytes()[decided.clone()].to_vec();
        let url = general_purpose::URL_SAFE.encode(&whole).as_bytes()[decided].to_vec();
        if url != standard {
            forms.push((Form::Base64, url));
        }
        forms.push((Form::Base64, standard));
    }
    forms
}
