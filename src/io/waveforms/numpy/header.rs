//! The text of an array's header: a Python dictionary of the elements' type, the order of storage and the shape.

/// The header of an array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub dtype: Dtype,
    pub fortran_order: bool,
    pub shape: Vec<u64>,
}

/// The type of an array's elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    /// One value per element: byte order, letter of the type and size, as in `<u2`.
    Plain {
        big_endian: bool,
        letter: char,
        size: u64,
        /// The type as the file states it, in quotes.
        text: String,
    },
    /// Several values per element, as the file describes them.
    Record(String),
}

impl Header {
    /// Reads the text of a header; the error says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let mut parser = Parser { rest: text };
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        parser.require('{')?;
        while !parser.accept('}') {
            let key = parser.string()?;
            parser.require(':')?;
            match key {
                "descr" => dtype = Some(parser.dtype()?),
                "fortran_order" => fortran_order = Some(parser.boolean()?),
                "shape" => shape = Some(parser.shape()?),
                _ => return Err(format!("unknown key `{key}`")),
            }
            if !parser.accept(',') {
                parser.require('}')?;
                break;
            }
        }
        parser.skip_space();
        if !parser.rest.is_empty() {
            return Err("text after the dictionary".to_owned());
        }
        Ok(Self {
            dtype: dtype.ok_or("no `descr`")?,
            fortran_order: fortran_order.ok_or("no `fortran_order`")?,
            shape: shape.ok_or("no `shape`")?,
        })
    }
}

/// Reads Python literals; `rest` is the text that is not read yet.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space();
        self.rest.strip_prefix(wanted).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    fn require(&mut self, wanted: char) -> Result<(), String> {
        if self.accept(wanted) {
            return Ok(());
        }
        Err(match self.rest.chars().next() {
            Some(found) => format!("expected `{wanted}`, found `{}`", found.escape_default()),
            None => format!("expected `{wanted}`, found the end"),
        })
    }

    /// The longest prefix of characters that `belongs` accepts.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|character| !belongs(character))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// A string in single or double quotes. Keys and types contain no quotes, so that escapes are refused.
    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.accept('"') {
            '"'
        } else {
            self.require('\'')?;
            '\''
        };
        let text = self.take_while(|character| character != quote && character != '\\');
        self.require(quote)?;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.skip_space();
        match self.take_while(|character| character.is_ascii_alphanumeric()) {
            "True" => Ok(true),
            "False" => Ok(false),
            other => Err(format!("`{other}` is neither True nor False")),
        }
    }

    fn integer(&mut self) -> Result<u64, String> {
        self.skip_space();
        let digits = self.take_while(|character| character.is_ascii_digit());
        // Python 2 marked long integers.
        self.rest = self.rest.strip_prefix('L').unwrap_or(self.rest);
        digits
            .parse()
            .map_err(|_| format!("`{digits}` is not the length of an array"))
    }

    /// A tuple or a list of lengths.
    fn shape(&mut self) -> Result<Vec<u64>, String> {
        let close = if self.accept('[') {
            ']'
        } else {
            self.require('(')?;
            ')'
        };
        let mut shape = Vec::new();
        while !self.accept(close) {
            shape.push(self.integer()?);
            if !self.accept(',') {
                self.require(close)?;
                break;
            }
        }
        Ok(shape)
    }

    fn dtype(&mut self) -> Result<Dtype, String> {
        self.skip_space();
        if self.rest.starts_with('[') {
            return self.record();
        }
        let text = self.string()?;
        let mut characters = text.chars();
        let order = characters.next();
        let letter = characters.next();
        let size = characters.as_str();
        let (Some(order @ ('<' | '>' | '|')), Some(letter)) = (order, letter) else {
            return Err(format!("`{text}` is not a type"));
        };
        // Types without a size (objects) or with a unit (dates) are refused later, so that their size does not matter.
        let size = size.parse().unwrap_or(0);
        if order == '|' && size > 1 && "biufcU".contains(letter) {
            return Err(format!("`{text}` does not state its byte order"));
        }
        Ok(Dtype::Plain {
            big_endian: order == '>',
            letter,
            size,
            text: format!("'{text}'"),
        })
    }

    /// The list of a record's fields, taken as text.
    fn record(&mut self) -> Result<Dtype, String> {
        let whole = self.rest;
        let mut depth = 0_usize;
        let mut quote = None;
        for (index, character) in whole.char_indices() {
            match (quote, character) {
                (None, '\'' | '"') => quote = Some(character),
                (Some(open), _) if open == character => quote = None,
                (None, '[' | '(') => depth += 1,
                (None, ']' | ')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let (record, rest) = whole.split_at(index + character.len_utf8());
                self.rest = rest;
                return Ok(Dtype::Record(record.to_owned()));
            }
        }
        Err("the list of fields does not end".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(big_endian: bool, letter: char, size: u64, text: &str) -> Dtype {
        Dtype::Plain {
            big_endian,
            letter,
            size,
            text: text.to_owned(),
        }
    }

    #[test]
    fn headers_of_every_spelling_are_read() {
        for (text, dtype, fortran_order, shape) in [
            (
                "{'descr': '<u2', 'fortran_order': False, 'shape': (12, 1000), }      \n",
                plain(false, 'u', 2, "'<u2'"),
                false,
                vec![12, 1000],
            ),
            (
                "{\"shape\":(7L,),\"fortran_order\":True,\"descr\":\">f8\"}",
                plain(true, 'f', 8, "'>f8'"),
                true,
                vec![7],
            ),
            (
                "{'descr': '<U12', 'fortran_order': False, 'shape': ()}",
                plain(false, 'U', 12, "'<U12'"),
                false,
                vec![],
            ),
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': [3]}",
                plain(false, 'O', 0, "'|O'"),
                false,
                vec![3],
            ),
            (
                "{'descr': [('a]', '<i4'), ('b', '<f8', (2, 3))], 'fortran_order': False, 'shape': (1,)}",
                Dtype::Record("[('a]', '<i4'), ('b', '<f8', (2, 3))]".to_owned()),
                false,
                vec![1],
            ),
        ] {
            let expected = Header {
                dtype,
                fortran_order,
                shape,
            };
            assert_eq!(Header::parse(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn damaged_headers_are_refused_wherever_they_end() {
        let whole = "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,)}";
        for end in 0..whole.len() {
            assert!(Header::parse(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
        for text in [
            "{'descr': '<u2', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<u2', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '|u2', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': 'u2', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<u2', 'fortran_order': False}",
            "{'descr': '<u2', 'fortran_order': False, 'shape': (1,), 'more': 1}",
            "{'descr': '<u2', 'fortran_order': False, 'shape': (1,)} and more",
            "{'descr': '<u2\\'', 'fortran_order': False, 'shape': (1,)}",
            "\u{e9}",
        ] {
            assert!(Header::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Header::parse(b"\xff").is_err());
    }
}
