//! The lines of a text of samples.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A byte order mark, which editors put in front of a text.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Maximum length of a line of one number; WaveDump's longest has about 40 characters.
const MAX_LINE_BYTES: u64 = 256;
/// Maximum length of a number in a row, its separator included; NumPy's have 25 characters.
const MAX_NUMBER_BYTES: u64 = 40;
/// Bytes at the beginning of a file from which the line end is known.
const HEAD_BYTES: u64 = 1 << 16;

/// Where the numbers of a record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One number per line, after header lines.
    Headers,
    /// One number per line, so many lines per record.
    Column(usize),
    /// So many numbers per line, each line a record.
    Rows(usize),
}

/// A line of the file.
pub(super) enum Line {
    /// `Key: value`.
    Header(String, String),
    Sample(f64),
    /// The numbers of a record.
    Row(Vec<f64>),
    /// A line that begins with `#`.
    Comment,
    Blank,
    /// Anything else, and what it is.
    Nonsense(String),
    /// The end of the file.
    End,
}

/// Reads a text line by line.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    layout: Layout,
    line_end: u8,
    /// The line that was read last, its beginning in the file, and whether it is longer than any of its kind.
    bytes: Vec<u8>,
    begin: u64,
    is_long: bool,
    /// Offset of the next line.
    pub position: u64,
    /// Number of the line that was read last, from 1.
    pub number: u64,
    /// True if the last line that was neither blank nor a comment lacks its line end, which programs always write.
    pub cut: bool,
}

impl Layout {
    fn max_line_bytes(self) -> u64 {
        match self {
            Self::Headers | Self::Column(_) => MAX_LINE_BYTES,
            Self::Rows(n) => MAX_LINE_BYTES + n as u64 * MAX_NUMBER_BYTES,
        }
    }

    /// Returns what a line is, which is neither blank nor a comment.
    fn line(self, text: &str) -> Line {
        match self {
            Self::Headers => match text.split_once(':') {
                Some((key, value)) => {
                    Line::Header(format!("{}:", key.trim()), value.trim().to_owned())
                }
                None => text
                    .parse()
                    .map_or_else(|_| self.nonsense(None), Line::Sample),
            },
            Self::Column(_) => match split_numbers(text).as_deref() {
                Some([value]) => Line::Sample(*value),
                numbers => self.nonsense(numbers.map(<[f64]>::len)),
            },
            Self::Rows(n) => match split_numbers(text) {
                Some(numbers) if numbers.len() == n => Line::Row(numbers),
                numbers => self.nonsense(numbers.map(|numbers| numbers.len())),
            },
        }
    }

    /// Returns the line that does not belong there, with the number of its numbers if it has nothing else.
    fn nonsense(self, n_numbers: Option<usize>) -> Line {
        Line::Nonsense(match (self, n_numbers) {
            (Self::Headers, _) => "is neither a header line nor a number".to_owned(),
            (Self::Column(_), None) => "is not a number".to_owned(),
            (Self::Column(_), Some(found)) => format!("has {found} numbers, not one"),
            (Self::Rows(_), None) => "is not a row of numbers".to_owned(),
            (Self::Rows(n), Some(found)) => format!("has {found} numbers, not {n}"),
        })
    }
}

impl Lines {
    pub fn open(path: &Path, layout: Layout) -> Result<Self> {
        let cannot = |error| Error::input(path, "cannot be opened").with_source(error);
        let mut reader = BufReader::new(File::open(path).map_err(cannot)?);
        let line_end = line_end(&mut reader).map_err(cannot)?;
        reader.rewind().map_err(cannot)?;
        Ok(Self {
            path: path.to_owned(),
            reader,
            layout,
            line_end,
            bytes: Vec::new(),
            begin: 0,
            is_long: false,
            position: 0,
            number: 0,
            cut: false,
        })
    }

    /// Reads the next line. Returns it with its offset.
    pub fn read(&mut self) -> Result<(u64, Line)> {
        if !self.advance()? {
            return Ok((self.begin, Line::End));
        }
        let line = match self.text() {
            None => self.layout.nonsense(None),
            Some("") => Line::Blank,
            Some(text) if text.starts_with('#') => Line::Comment,
            Some(text) => self.layout.line(text),
        };
        Ok((self.begin, line))
    }

    /// Moves to the next line that is neither blank nor a comment. Returns false if there is none.
    pub fn find_content(&mut self) -> Result<bool> {
        while self.advance()? {
            if self.text().is_none_or(is_content) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the line that was read last without blanks around it; `None` if it is too long or no text.
    pub fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.content()).ok()?;
        // Ctrl-Z ended a text once.
        let is_blank = |letter: char| letter.is_whitespace() || letter == '\u{1a}';
        (!self.is_long).then(|| text.trim_matches(is_blank))
    }

    /// Returns the bytes of the line that was read last, as far as it is not too long.
    pub fn content(&self) -> &[u8] {
        match self.bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if self.begin == 0 => rest,
            _ => &self.bytes,
        }
    }

    /// Moves to the next line. Returns false at the end of the file.
    fn advance(&mut self) -> Result<bool> {
        self.begin = self.position;
        self.bytes.clear();
        let begin = self.begin;
        match self.read_bytes() {
            Ok(n_read) => {
                self.position += n_read;
                self.number += u64::from(n_read > 0);
                Ok(n_read > 0)
            }
            Err(error) => Err(
                Error::input(&self.path, format!("cannot be read at byte {begin}"))
                    .with_source(error),
            ),
        }
    }

    /// Reads the bytes of a line. Of a line that is too long the end is skipped.
    fn read_bytes(&mut self) -> io::Result<u64> {
        let most = self.layout.max_line_bytes();
        let mut n_read = (&mut self.reader)
            .take(most)
            .read_until(self.line_end, &mut self.bytes)? as u64;
        self.is_long = n_read == most && self.bytes.last() != Some(&self.line_end);
        // A blank line or a comment lacks nothing, nor does the end of the file.
        if self.text().is_none_or(is_content) {
            self.cut = self.bytes.last() != Some(&self.line_end);
        }
        if self.is_long {
            n_read += self.reader.skip_until(self.line_end)? as u64;
        }
        Ok(n_read)
    }
}

/// Returns true if a line is neither blank nor a comment.
fn is_content(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('#')
}

/// Returns the numbers of a line, which blanks, tabs, commas or semicolons separate; `None` if there is anything else. A
/// comma or semicolon may end the line.
pub(super) fn split_numbers(text: &str) -> Option<Vec<f64>> {
    match [';', ','].into_iter().find(|it| text.contains(*it)) {
        Some(separator) => {
            let text = text.strip_suffix(separator).unwrap_or(text);
            let numbers = text.split(separator).map(|it| it.trim().parse().ok());
            numbers.collect()
        }
        None => text.split_whitespace().map(|it| it.parse().ok()).collect(),
    }
}

/// Returns the byte that ends the lines: a carriage return if there is no line feed.
fn line_end(reader: &mut BufReader<File>) -> io::Result<u8> {
    let mut head = Vec::new();
    reader.take(HEAD_BYTES).read_to_end(&mut head)?;
    let has_line_feed = head.contains(&b'\n');
    // After the last byte a line feed may follow.
    let is_cut = head.len() as u64 == HEAD_BYTES;
    let whole = head.len() - usize::from(is_cut);
    let has_return = head.iter().take(whole).any(|&byte| byte == b'\r');
    Ok(if has_return && !has_line_feed {
        b'\r'
    } else {
        b'\n'
    })
}
