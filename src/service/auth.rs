//! Who may come in: tokens from a file, compared without telling how much of one was right.

use std::path::Path;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::error::{Error, Result};

/// Fewest characters of a token: what is shorter can be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

/// The tokens that open the service.
pub struct Tokens(Vec<String>);

// No token can get into a log through a debug print.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Tokens {
    /// Reads a file with one token a line; empty lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// If the file cannot be read, others than its owner may read it, or it holds no token or one that is too short.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |what: &str| Error::usage(format!("`{}`: {what}", path.display()));
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong("cannot be read").with_source(error))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path)
                .map_err(|error| wrong("cannot be read").with_source(error))?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                return Err(
                    wrong("others than its owner may read or write this file of tokens")
                        .with_hint(format!("chmod 600 {}", path.display())),
                );
            }
        }
        let mut tokens = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.len() < MIN_TOKEN_LENGTH || !line.bytes().all(|it| it.is_ascii_graphic()) {
                return Err(wrong(&format!(
                    "line {}: a token has at least {MIN_TOKEN_LENGTH} characters, and no blanks",
                    place + 1
                ))
                .with_hint("`openssl rand -hex 32` makes one"));
            }
            tokens.push(line.to_owned());
        }
        if tokens.is_empty() {
            return Err(wrong("holds no token").with_hint("`openssl rand -hex 32` makes one"));
        }
        Ok(Self(tokens))
    }

    /// True if the headers carry one of the tokens: as `Bearer TOKEN`, or as the password that a browser asks for.
    #[must_use]
    pub fn authorize(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()) else {
            return false;
        };
        let Some((scheme, rest)) = value.split_once(' ') else {
            return false;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.contains(rest.trim().as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let decoded = STANDARD.decode(rest.trim()).unwrap_or_default();
        let colon = decoded.iter().position(|&it| it == b':');
        colon.is_some_and(|colon| self.contains(decoded.get(colon + 1..).unwrap_or_default()))
    }

    fn contains(&self, candidate: &[u8]) -> bool {
        // Every token is compared, whichever is right.
        let found =
            |found: bool, token: &String| found | bool::from(token.as_bytes().ct_eq(candidate));
        self.0.iter().fold(false, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().expect("a header"));
        headers
    }

    #[test]
    fn only_a_whole_token_opens() {
        let tokens = Tokens(vec![
            "a-token-of-some-length".into(),
            "another-token-here".into(),
        ]);
        let basic = STANDARD.encode("anyone:another-token-here");
        assert!(tokens.authorize(&headers("Bearer a-token-of-some-length")));
        assert!(tokens.authorize(&headers("bearer another-token-here")));
        assert!(tokens.authorize(&headers(&format!("Basic {basic}"))));
        let basic = STANDARD.encode("another-token-here");
        for wrong in [
            "Bearer a-token-of-some-lengt",
            "Bearer a-token-of-some-length2",
            "Bearer",
            "Bearer ",
            "a-token-of-some-length",
            "Basic a-token-of-some-length",
            &format!("Basic {basic}"),
            "Basic !!!",
        ] {
            assert!(!tokens.authorize(&headers(wrong)), "{wrong}");
        }
        assert!(!tokens.authorize(&HeaderMap::new()));
        assert_eq!(format!("{tokens:?}"), "2 tokens");
    }
}
