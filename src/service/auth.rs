//! Authentication with bearer tokens from a file, compared in constant time.

use std::path::Path;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::error::{Error, Result};

/// The minimum length of a token in characters; shorter ones can be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

/// The accepted tokens.
pub struct Tokens(Vec<String>);

// Debug output must not leak tokens into logs.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Tokens {
    /// Reads a file with one token per line. Empty lines and lines that start with `#` are ignored.
    ///
    /// # Errors
    /// If the file cannot be read, users other than its owner can access it, or it contains no token or one that is too short.
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
                    wrong("users other than the owner may read or write this token file")
                        .with_hint(format!("chmod 600 {}", path.display())),
                );
            }
        }
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.len() < MIN_TOKEN_LENGTH || !line.bytes().all(|it| it.is_ascii_graphic()) {
                return Err(wrong(&format!(
                    "line {}: a token has at least {MIN_TOKEN_LENGTH} printable characters without spaces",
                    index + 1
                ))
                .with_hint("generate one with `openssl rand -hex 32`"));
            }
            tokens.push(line.to_owned());
        }
        if tokens.is_empty() {
            return Err(
                wrong("contains no token").with_hint("generate one with `openssl rand -hex 32`")
            );
        }
        Ok(Self(tokens))
    }

    /// Returns true if the headers contain one of the tokens, as `Bearer TOKEN` or as the password of basic authentication.
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
        // All tokens are compared, so that the time does not depend on which one matches.
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
    fn only_a_complete_token_is_accepted() {
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
