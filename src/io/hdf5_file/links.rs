//! Soft and external links of HDF5 groups: decodes them, and follows soft ones within the file.

use std::collections::BTreeMap;

/// Maximum number of links that are followed one after the other.
const MAX_STEPS: usize = 32;

/// A link that is no hard link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub name: String,
    pub target: Target,
}

/// The target of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path in the same file, from the root if it begins with `/`, else from the link's group.
    Path(String),
    /// A path in another file.
    External { file: String, path: String },
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "`{path}`"),
            Self::External { file, path } => write!(f, "`{path}` in the file `{file}`"),
        }
    }
}

/// Decodes a soft link of an old group: an entry of a symbol table, and the group's heap, which has the texts.
pub(super) fn link_of_symbol(
    entry: &[u8],
    heap: &[u8],
    address_bytes: usize,
    length_bytes: usize,
) -> Option<Link> {
    const IS_SOFT_LINK: u64 = 2;
    let kind = length_bytes + address_bytes;
    (number(entry, kind, 4)? == IS_SOFT_LINK).then_some(())?;
    let text = |at: u64| {
        let bytes = heap.get(usize::try_from(at).ok()?..)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
    };
    Some(Link {
        name: text(number(entry, 0, length_bytes)?)?,
        target: Target::Path(text(number(entry, kind + 8, 4)?)?),
    })
}

/// Decodes a link message; `None` for hard links. `is_whole` demands that the message takes all of `bytes`.
pub(super) fn link_of_message(bytes: &[u8], is_whole: bool) -> Option<Link> {
    const SOFT: u8 = 1;
    const EXTERNAL: u8 = 64;
    let (version, flags) = (*bytes.first()?, *bytes.get(1)?);
    // Without a kind the link is a hard one.
    (version == 1 && flags & 0xe0 == 0 && flags & 0x08 != 0).then_some(())?;
    let kind = *bytes.get(2)?;
    let mut at = 3;
    if flags & 0x04 != 0 {
        at += 8;
    }
    if flags & 0x10 != 0 {
        at += 1;
    }
    let take = |at: &mut usize, width: usize| {
        let length = usize::try_from(number(bytes, *at, width)?).ok()?;
        let start = *at + width;
        *at = start.checked_add(length)?;
        bytes.get(start..*at)
    };
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    let name = text(take(&mut at, 1 << (flags & 0x03))?);
    let value = take(&mut at, 2)?;
    (!is_whole || at == bytes.len()).then_some(())?;
    let target = match kind {
        SOFT => Target::Path(text(value)),
        EXTERNAL => {
            let mut parts = value.get(1..)?.split(|&byte| byte == 0);
            Target::External {
                file: text(parts.next()?),
                path: text(parts.next()?),
            }
        }
        _ => return None,
    };
    Some(Link { name, target })
}

/// The links of a file by their path from the root, without the leading slash.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<String, Target>);

impl Links {
    pub(super) fn add(&mut self, group: &str, link: Link) {
        self.0.insert(format!("{group}{}", link.name), link.target);
    }

    /// Returns all links and their targets.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.0.iter().map(|(path, target)| (path.as_str(), target))
    }

    /// Returns the path that `path` leads to when all soft links on the way are followed, or the external link that it meets.
    pub fn follow(&self, path: &str) -> Result<String, &Target> {
        let mut path = normal(path);
        'next: for _ in 0..MAX_STEPS {
            let ends = path.match_indices('/').map(|(end, _)| end);
            for end in ends.chain([path.len()]) {
                let (begin, rest) = path.split_at(end);
                let target = match self.0.get(begin) {
                    None => continue,
                    Some(Target::Path(target)) => target,
                    Some(external) => return Err(external),
                };
                let group = match begin.rsplit_once('/') {
                    Some((group, _)) if !target.starts_with('/') => group,
                    _ => "",
                };
                path = normal(&format!("{group}/{target}/{rest}"));
                continue 'next;
            }
            break;
        }
        Ok(path)
    }
}

/// Returns a path without empty parts and dots.
fn normal(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

/// Returns the little-endian number of `width` bytes at `at`.
pub(super) fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let raw = bytes.get(at..at.checked_add(width)?)?;
    let mut number = [0; 8];
    number.get_mut(..width)?.copy_from_slice(raw);
    Some(u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soft(name: &str, target: &str) -> Link {
        Link {
            name: name.to_owned(),
            target: Target::Path(target.to_owned()),
        }
    }

    #[test]
    fn links_are_followed_through_groups_and_other_links() {
        let mut links = Links::default();
        links.add("", soft("latest", "runs/last"));
        links.add("runs/", soft("last", "./7"));
        links.add("runs/7/", soft("event", "/daq/number"));
        links.add("", soft("round", "/round"));
        let external = Target::External {
            file: "next.h5".to_owned(),
            path: "/".to_owned(),
        };
        let link = Link {
            name: "next".to_owned(),
            target: external.clone(),
        };
        links.add("", link);
        assert_eq!(
            links.follow("/latest/samples").as_deref(),
            Ok("runs/7/samples")
        );
        assert_eq!(links.follow("latest/event").as_deref(), Ok("daq/number"));
        assert_eq!(links.follow("other/event").as_deref(), Ok("other/event"));
        assert_eq!(links.follow("next/event"), Err(&external));
        assert_eq!(links.follow("round").as_deref(), Ok("round"));
    }

    #[test]
    fn cut_messages_are_no_links() {
        let mut message = vec![1, 0x08, 1, 1, b'a', 2, 0, b'/', b'b'];
        assert_eq!(link_of_message(&message, true), Some(soft("a", "/b")));
        for end in 0..message.len() {
            assert_eq!(link_of_message(&message[..end], false), None, "{end}");
        }
        message.push(0);
        assert_eq!(link_of_message(&message, true), None);
        assert_eq!(link_of_message(&message, false), Some(soft("a", "/b")));
    }
}
