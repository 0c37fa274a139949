//! Finds the end of a chunked body (RFC 9112, section 7.1). actix decodes the body; this module only keeps bytes after
//! it from being read.
//!
//! It is stricter than actix: an encoding that the two could understand differently is an error.

/// Maximum bytes of chunk extensions and trailers in one body. LINE and its SDKs send neither.
const MAX_OVERHEAD_BYTES: usize = 4096;

/// Maximum number of chunks of less than [`SMALL_CHUNK_BYTES`] in one body: to decode 90 kB in chunks of one byte took
/// 6 ms. A client that flushes small pieces, or a proxy that passes them on, stays far below.
const MAX_SMALL_CHUNKS: usize = 1024;
const SMALL_CHUNK_BYTES: u64 = 64;

/// How far a chunked body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    overhead: usize,
    small: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a chunk's size, with the value so far.
    Size {
        value: u64,
        digits: u8,
    },
    /// After the digits, before the line's end.
    Extension {
        value: u64,
    },
    /// At the LF that ends a size line.
    SizeEnd {
        value: u64,
    },
    /// In the bytes of a chunk.
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    InTrailer,
    TrailerLf,
    /// At the LF of the empty line.
    LastLf,
    End,
}

/// The chunked encoding is not valid, or exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Default for Chunked {
    fn default() -> Self {
        Self {
            state: State::Size {
                value: 0,
                digits: 0,
            },
            overhead: 0,
            small: 0,
        }
    }
}

impl Chunked {
    /// Advances over `bytes`, up to the end of the body. Returns how many of them belong to the body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::End {
            if let State::Data { left } = &mut self.state {
                let here = usize::try_from(*left).unwrap_or(usize::MAX);
                let here = here.min(bytes.len() - at);
                *left -= here as u64;
                at += here;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.next(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// Whether the body has ended.
    pub(super) fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    fn next(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Size { value, digits }, byte) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size {
                    value: value << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (State::Size { value, digits: 1.. }, b'\r') => State::SizeEnd { value },
            (State::Size { value, digits: 1.. }, b';') => State::Extension { value },
            (State::Extension { value }, b'\r') => State::SizeEnd { value },
            (State::Extension { value }, byte) if byte != b'\n' => {
                self.count_overhead_byte()?;
                State::Extension { value }
            }
            (State::SizeEnd { value: 0 }, b'\n') => State::Trailer,
            (State::SizeEnd { value }, b'\n') => {
                self.small += usize::from(value < SMALL_CHUNK_BYTES);
                if self.small > MAX_SMALL_CHUNKS {
                    return Err(Malformed);
                }
                State::Data { left: value }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size {
                value: 0,
                digits: 0,
            },
            (State::Trailer, b'\r') => State::LastLf,
            (State::InTrailer, b'\r') => State::TrailerLf,
            (State::Trailer | State::InTrailer, byte) if byte != b'\n' => {
                self.count_overhead_byte()?;
                State::InTrailer
            }
            (State::TrailerLf, b'\n') => State::Trailer,
            (State::LastLf, b'\n') => State::End,
            _ => return Err(Malformed),
        })
    }

    fn count_overhead_byte(&mut self) -> Result<(), Malformed> {
        self.overhead += 1;
        match self.overhead > MAX_OVERHEAD_BYTES {
            true => Err(Malformed),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of the body; `None` if it is incomplete. Asserts that feeding single bytes gives the same result.
    fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let whole = {
            let mut chunked = Chunked::default();
            let taken = chunked.advance(bytes)?;
            chunked.is_at_end().then_some(taken)
        };
        let (mut chunked, mut taken) = (Chunked::default(), 0);
        for byte in bytes {
            taken += chunked.advance(&[*byte])?;
        }
        assert_eq!(chunked.is_at_end().then_some(taken), whole);
        Ok(whole)
    }

    #[test]
    fn a_body_ends_with_its_last_chunk_and_trailers() {
        for (bytes, end) in [
            ("0\r\n\r\n", Some(5)),
            ("0\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(5)),
            ("5\r\nabcde\r\n0\r\n\r\nrest", Some(15)),
            (
                "A;name=value\r\n0123456789\r\n00\r\nx: y\r\n\r\n0\r\n\r\n",
                Some(38),
            ),
            ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", Some(15)),
            ("", None),
            ("5\r\nabcde\r\n0\r\n", None),
            ("fffff\r\nabc", None),
        ] {
            assert_eq!(length(bytes.as_bytes()), Ok(end), "{bytes:?}");
        }
    }

    #[test]
    fn invalid_encodings_are_refused() {
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(MAX_OVERHEAD_BYTES + 1));
        let trailers = format!("0\r\n{}\r\n\r\n", "t: x\r\n".repeat(1100));
        for bytes in [
            "\r\n0\r\n\r\n",
            "0\n\n",
            "0\r\n\n",
            "1\r\nxx\r\n0\r\n\r\n",
            "1\nx\r\n0\r\n\r\n",
            " 1\r\nx\r\n0\r\n\r\n",
            "1 \r\nx\r\n0\r\n\r\n",
            "+1\r\nx\r\n0\r\n\r\n",
            "0x1\r\nx\r\n0\r\n\r\n",
            "-1\r\n",
            "g\r\n",
            "0000000000000001\r\nx\r\n0\r\n\r\n",
            "1;a\nb\r\nx\r\n0\r\n\r\n",
            "0\r\na: b\n\r\n",
            &long,
            &trailers,
        ] {
            assert_eq!(length(bytes.as_bytes()), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_body_of_very_many_small_chunks_is_refused() {
        let body = |size: usize, count: usize| {
            let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
            format!("{}0\r\n\r\n", chunk.repeat(count))
        };
        for (size, count, fine) in [
            (1, 1024, true),
            (1, 1025, false),
            (63, 1025, false),
            (64, 30_000, true),
        ] {
            let taken = Chunked::default().advance(body(size, count).as_bytes());
            assert_eq!(taken.is_ok(), fine, "{count} of {size}");
        }
    }
}
