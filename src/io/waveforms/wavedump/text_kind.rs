//! Tells texts from binary samples by their first bytes, and what a text without header lines holds.

use std::path::Path;

use super::lines::{BYTE_ORDER_MARK, Layout, Lines, split_numbers};
use crate::error::{Error, Hint, Result};
use crate::model::{MAX_SAMPLES, MIN_SAMPLES};

/// The start of the first line of a record.
pub(super) const FIRST_KEY: &str = "Record Length:";
/// The starts of the other header lines.
const OTHER_KEYS: [&str; 6] = [
    "BoardID:",
    "Channel:",
    "Event Number:",
    "Pattern:",
    "Trigger Time Stamp:",
    "DC offset (DAC):",
];
/// Maximum length of a number in a text.
const MAX_NUMBER_BYTES: usize = 64;
/// Mean difference of neighbouring bytes up to which they may be 8-bit samples; that of words is three times as large.
const MAX_BYTE_STEP: usize = 8;
/// The layouts that texts without header lines may have.
const READABLE: &str =
    "nuwave reads texts of one number per line, or of all numbers of a waveform in each line";

/// Returns whether a file that begins with `head` has header lines: the first one of a record, or several others if that is
/// damaged.
pub(super) fn has_header_lines(head: &[u8]) -> bool {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let mut found = [false; OTHER_KEYS.len()];
    for line in head.split(|byte| b"\r\n".contains(byte)) {
        let line = line.trim_ascii_start();
        if line.starts_with(FIRST_KEY.as_bytes()) {
            return true;
        }
        for (key, found) in OTHER_KEYS.iter().zip(&mut found) {
            *found |= line.starts_with(key.as_bytes());
        }
    }
    found.iter().filter(|&&found| found).count() >= 2
}

/// Returns whether a file that begins with `head` is a text, and no binary samples.
pub(super) fn is_text(head: &[u8]) -> bool {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let is_control = |byte: u8| byte.is_ascii_control() && !b"\t\n\x0c\r\x1a".contains(&byte);
    let n_foreign = head.iter().filter(|byte| !byte.is_ascii()).count();
    let is_printable = !head.iter().copied().any(is_control) && n_foreign * 8 <= head.len();
    looks_numeric(head) || is_printable && !may_be_samples(head)
}

/// Returns true if nearly all bytes are those of numbers, which nowhere are longer than numbers. Bytes may be damaged.
fn looks_numeric(head: &[u8]) -> bool {
    let is_separator = |byte: u8| byte <= b' ' || byte == b',' || byte == b';';
    let is_numeric = |byte: u8| {
        byte.is_ascii_digit() || byte.is_ascii_whitespace() || b"+-.eE,;".contains(&byte)
    };
    let n_numeric = head.iter().filter(|&&byte| is_numeric(byte)).count();
    let n_digits = head.iter().filter(|byte| byte.is_ascii_digit()).count();
    let longest = head
        .split(|&byte| is_separator(byte))
        .map(<[u8]>::len)
        .max();
    n_numeric * 100 >= head.len() * 85
        && n_digits * 4 >= head.len()
        && longest.is_some_and(|longest| longest <= MAX_NUMBER_BYTES)
}

/// Returns true if printable characters may be samples by chance: of 8 bits, which change little by little, or of 16 bits,
/// whose high bytes are mostly the same.
fn may_be_samples(head: &[u8]) -> bool {
    if head.iter().all(u8::is_ascii_whitespace) {
        return false;
    }
    let after = |distance: usize| head.iter().zip(head.iter().skip(distance));
    let sum: usize = after(1).map(|(a, b)| usize::from(a.abs_diff(*b))).sum();
    let n_equal = after(2).filter(|(a, b)| a == b).count();
    sum <= MAX_BYTE_STEP * head.len() || n_equal * 10 >= head.len() * 3
}

/// Returns where the numbers of a text without header lines are, by its first line that is neither blank nor a comment.
pub(super) fn layout(path: &Path, record_samples: usize) -> Result<Layout> {
    let lines = first_content(path)?;
    match lines.text().and_then(split_numbers).map(|it| it.len()) {
        Some(1) => Ok(Layout::Column(record_samples)),
        Some(found) if found == record_samples => Ok(Layout::Rows(record_samples)),
        Some(found) => Err(wrong_count(path, &lines, found, record_samples)),
        None => Err(no_numbers(path, &lines)),
    }
}

/// Returns why a text without header lines cannot be read without a record length; `None` if it is no text of numbers.
pub(super) fn why_length_is_needed(path: &Path) -> Result<Option<Error>> {
    let lines = first_content(path)?;
    let Some(found) = lines.text().and_then(split_numbers).map(|it| it.len()) else {
        return Ok(None);
    };
    if (2..MIN_SAMPLES).contains(&found) {
        return Ok(Some(wrong_count(path, &lines, found, 0)));
    }
    let mut message = "is a text of numbers without WaveDump's header lines".to_owned();
    if found > 1 {
        message = format!("{message}: line {} has {found} numbers", lines.number);
    }
    let error = Error::input(path, message).with_hint(Hint::RecordSamples { formats: None });
    Ok(Some(error))
}

/// Reads up to the first line that is neither blank nor a comment.
fn first_content(path: &Path) -> Result<Lines> {
    let mut lines = Lines::open(path, Layout::Rows(MAX_SAMPLES))?;
    if lines.find_content()? {
        return Ok(lines);
    }
    Err(Error::input(path, "is a text without numbers").with_hint(READABLE))
}

/// Returns the error on a line of `found` numbers where one or `record_samples` were expected.
fn wrong_count(path: &Path, lines: &Lines, found: usize, record_samples: usize) -> Error {
    let wanted = match record_samples {
        0 => "all numbers of a waveform".to_owned(),
        n => format!("the {n} numbers of a waveform"),
    };
    let error = Error::input(
        path,
        format!(
            "is a text whose line {} has {found} numbers; nuwave reads texts of one number per line, or of {wanted} in each line",
            lines.number
        ),
    );
    if found >= MIN_SAMPLES {
        return error.with_hint(Hint::RecordSamples { formats: None });
    }
    let text = lines.text().unwrap_or_default();
    let separator = [';', ','].into_iter().find(|it| text.contains(*it));
    let delimiter = separator.map(|it| format!(", delimiter=\"{it}\""));
    let column = format!(
        "of several columns keep that of the samples: `numpy.savetxt(\"NEW\", numpy.loadtxt(\"OLD\"{})[:, {}])`",
        delimiter.unwrap_or_default(),
        found - 1
    );
    if separator == Some(',') {
        return error
            .with_hint("if the comma is a decimal comma, replace it: `tr , . < OLD > NEW`")
            .and_hint(column);
    }
    error.with_hint(column)
}

/// Returns the error on a text whose first line has other things than numbers.
fn no_numbers(path: &Path, lines: &Lines) -> Error {
    let text = String::from_utf8_lossy(lines.content());
    let text = text.trim();
    let begin: String = text.chars().take(40).collect();
    let name = match text.chars().next() {
        Some('{' | '[') => "JSON",
        Some('<') => "XML or HTML",
        _ => "a text",
    };
    let error = Error::input(
        path,
        format!(
            "is {name}, and not a text of numbers: its line {} begins with `{}`",
            lines.number,
            begin.escape_debug()
        ),
    );
    if text.starts_with("0x") || text.starts_with("0X") {
        return error.with_hint(
            "convert hexadecimal numbers: `python3 -c 'import sys; [print(int(x, 16)) for x in sys.stdin]' < OLD > NEW`",
        );
    }
    if text.contains(',') && split_numbers(&text.replace(',', ".").replace(';', " ")).is_some() {
        return error.with_hint("replace decimal commas: `tr , . < OLD > NEW`");
    }
    error.with_hint(format!("{READABLE}; other lines in front begin with `#`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_from_samples_that_are_printable() {
        let numbers = "4784\n4790\n4781\n".repeat(200);
        let row = "4784\t4790\t".repeat(300);
        let zeros = "0\n".repeat(2000);
        let hexadecimal = "0x12B0\n".repeat(500);
        let log = "2026-01-01 run started\n".repeat(200);
        let markup = format!("<?xml?>{}", "<v>4784</v>".repeat(300));
        let letter = "Dear colleague,\nthere are no waveforms here.\n";
        let texts: [&str; 9] = [
            &numbers,
            &row,
            &zeros,
            &hexadecimal,
            &log,
            &markup,
            letter,
            "\n\n\n",
            "\u{feff}17\n",
        ];
        for text in texts {
            assert!(is_text(text.as_bytes()), "{text:.40}");
        }
        let noise = |index: usize| (index * 7919 % 5) as u8;
        for level in 30..120_u8 {
            let bytes: Vec<u8> = (0..4096).map(|index| level + noise(index)).collect();
            assert!(!is_text(&bytes), "8 bits at {level}");
            // Counts whose two bytes are both printable.
            let words = (0..4096).map(|index| match index % 2 {
                0 => 80 + noise(index),
                _ => level,
            });
            assert!(!is_text(&words.collect::<Vec<_>>()), "16 bits at {level}");
        }
    }

    #[test]
    fn header_lines_are_known_by_any_of_their_keys() {
        assert!(has_header_lines(b"Record Length: 90\n"));
        assert!(has_header_lines(b"# run 7\n\nRecord Length: 90\n"));
        assert!(has_header_lines(
            b"Rec#rd Length: 90\nBoardID: 31\nChannel: 2\n"
        ));
        assert!(!has_header_lines(b"Channel: 2\nColour: red\n"));
        assert!(!has_header_lines(b"a Record Length: 90\n"));
    }
}
