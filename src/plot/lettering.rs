//! Widths of texts without a font at hand, lines of limited width, and the line at the foot of every picture.

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Anchor, Canvas};
use super::figure::GREY;
use crate::error::Result;
use crate::version;

/// Height that the line at the foot takes.
pub(crate) const FOOT_PX: f64 = 24.0;
const FOOT_TEXT_PX: f64 = 12.5;

/// Returns the approximate width of `text`: that of a wide sans-serif font, so that no font exceeds it by much.
pub(crate) fn text_width(text: &str, size_px: f64) -> f64 {
    let ems = text.chars().map(|letter| match letter {
        'i' | 'j' | 'l' | '\'' | '|' => 0.28,
        ' ' | '.' | ',' | ':' | ';' | '!' | '`' => 0.32,
        'f' | 't' | 'r' | '(' | ')' | '/' | '-' | 'I' => 0.39,
        'm' | 'w' | 'M' | 'W' | '%' => 0.88,
        '+' | '=' | '<' | '>' | '\u{b1}' | '\u{2212}' => 0.80,
        letter if letter.is_uppercase() => 0.68,
        _ => 0.63,
    });
    size_px * ems.sum::<f64>()
}

/// Divides `text` at spaces into lines that are not wider than `width_px`.
pub(crate) fn wrapped(text: &str, size_px: f64, width_px: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), size_px) <= width_px => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Draws the line at the foot of a picture of height `height_px`: the version of nuwave, and what the picture holds.
pub(crate) fn foot(
    entries: &str,
    left_px: f64,
    height_px: f64,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    let mut text = format!("nuwave {}", version::VERSION_AND_COMMIT);
    if !entries.is_empty() {
        text.push_str(", ");
        text.push_str(entries);
    }
    canvas.text(
        &text,
        (left_px, height_px - 9.0),
        FOOT_TEXT_PX,
        Anchor(HPos::Left, VPos::Bottom),
        (GREY, FontStyle::Normal, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_all_words_and_their_width() {
        let text =
            "half-width of the central 68 % of reconstructed / true energy; curve: sqrt(a/E + b)";
        let lines = wrapped(text, 15.0, 300.0);
        assert!(lines.len() > 1);
        assert_eq!(lines.join(" "), text);
        assert!(lines.iter().all(|line| text_width(line, 15.0) <= 300.0));
        assert_eq!(wrapped("", 15.0, 300.0), Vec::<String>::new());
        assert_eq!(wrapped("unbreakable", 15.0, 3.0), ["unbreakable"]);
    }
}
