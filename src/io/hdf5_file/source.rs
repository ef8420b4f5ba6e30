//! The bytes of an HDF5 file, as the HDF5 library can read them.
//!
//! The library (hdf5-pure) refuses two things that files of today have, although it knows everything else about them:
//!
//! - Soft links in groups of the old format (symbol tables). Their entries have no object, and the library follows the missing
//!   address. They are taken out of the symbol tables that the library sees, and collected in a [`LinkLog`].
//! - Version 5 of the data layout message, which HDF5 2 writes. It differs from version 4 in the width of the sizes in the index of
//!   chunks, which the index states itself. The message is handed on as version 4, with a new checksum of its header.
//!
//! The links of groups of the new format, which the library passes over, are collected as well. The object header of such a group
//! may be of version 1: h5py writes a group so if it has an external link, unless it was told to write for the latest version.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{FormatError, ReadSeekSource, Source};

use super::checksum::lookup3;
use super::links::{Link, link_of_message, link_of_symbol, number};
use crate::io::system_errors::NotingReader;

/// Message types in object headers.
const LAYOUT_MESSAGE: u8 = 0x08;
const LINK_MESSAGE: u8 = 0x06;
const CONTINUATION_MESSAGE: u8 = 0x10;
/// Bytes of the prefix of an object header of version 1, and of the header of a message in it.
const OLD_PREFIX: usize = 16;
const OLD_MESSAGE_PREFIX: usize = 8;
/// Signature, prefix and checksum of a continuation of an object header.
const CONTINUATION_PREFIX: usize = 4;
const CHECKSUM_BYTES: usize = 4;

/// The soft and external links of one group, as the library reads it.
#[derive(Debug, Default)]
pub(super) struct LinkLog {
    links: Vec<Link>,
    /// The object header that is read; the group's own is the first.
    header: Option<u64>,
    /// The parts of the group's own object header, if that is of version 1: they have no signature.
    old_parts: Vec<u64>,
    /// True once a second object header was read: what follows belongs to the group's members.
    is_closed: bool,
    /// The address of the data of the local heap whose header was read last, and the data.
    heap_at: Option<u64>,
    heap: Vec<u8>,
}

/// A file whose metadata are adapted.
pub(super) struct AdaptedSource {
    inner: ReadSeekSource<NotingReader<std::fs::File>>,
    log: Arc<Mutex<LinkLog>>,
    /// Where the superblock is; addresses in the file count from there.
    base: u64,
    /// Bytes per address and per length.
    address_bytes: usize,
    length_bytes: usize,
}

impl LinkLog {
    /// Begins with another group.
    pub fn begin(&mut self) {
        *self = Self::default();
    }

    /// Returns the links found since [`LinkLog::begin`].
    pub fn take(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.links)
    }

    fn add(&mut self, link: Option<Link>) {
        if let Some(link) = link
            && !self.links.contains(&link)
        {
            self.links.push(link);
        }
    }
}

impl AdaptedSource {
    pub fn new(
        inner: ReadSeekSource<NotingReader<std::fs::File>>,
        log: Arc<Mutex<LinkLog>>,
    ) -> Self {
        let (base, address_bytes, length_bytes) = sizes(&inner).unwrap_or((0, 8, 8));
        Self {
            inner,
            log,
            base,
            address_bytes,
            length_bytes,
        }
    }

    /// Returns `bytes`, which were read at `offset`, as the library can read them.
    fn adapt(&self, offset: u64, bytes: Vec<u8>) -> Vec<u8> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.heap_at == Some(offset) {
            log.heap.clone_from(&bytes);
            return bytes;
        }
        match bytes.get(..4) {
            Some(b"HEAP") => {
                // Version, reserved bytes, size of the data, free list, address of the data.
                let at = 8 + 2 * self.length_bytes;
                log.heap_at = number(&bytes, at, self.address_bytes)
                    .and_then(|address| address.checked_add(self.base));
                bytes
            }
            Some(b"SNOD") => self.without_soft_links(bytes, &mut log),
            Some(b"OHDR") => {
                log.is_closed |= log.header.is_some_and(|header| header != offset);
                log.header = Some(offset);
                let first = prefix_bytes(&bytes);
                Self::with_known_layout(bytes, first, &mut log)
            }
            Some(b"OCHK") => Self::with_known_layout(bytes, Some(CONTINUATION_PREFIX), &mut log),
            _ => {
                if !log.is_closed {
                    self.collect(offset, &bytes, &mut log);
                }
                bytes
            }
        }
    }

    /// Collects the links of the group in `bytes` without a signature: a part of an object header of version 1, or an object of
    /// the heap that has the links of groups of many members, which the library reads one by one.
    fn collect(&self, offset: u64, bytes: &[u8], log: &mut LinkLog) {
        if log.old_parts.contains(&offset) {
            for (kind, message) in old_messages(bytes) {
                match kind {
                    LINK_MESSAGE => log.add(link_of_message(message, false)),
                    CONTINUATION_MESSAGE => {
                        let address = number(message, 0, self.address_bytes);
                        let part = address.and_then(|address| address.checked_add(self.base));
                        log.old_parts.extend(part);
                    }
                    _ => {}
                }
            }
            return;
        }
        let is_new = log.header.is_some() && log.old_parts.is_empty();
        if !is_new && is_old_prefix(bytes) {
            if log.header.is_some_and(|header| header != offset) {
                log.is_closed = true;
                return;
            }
            log.header = Some(offset);
            log.old_parts = vec![offset.saturating_add(OLD_PREFIX as u64)];
        } else if log.header.is_some() {
            log.add(link_of_message(bytes, true));
        }
    }

    /// Takes the entries without an object out of a symbol table.
    fn without_soft_links(&self, mut bytes: Vec<u8>, log: &mut LinkLog) -> Vec<u8> {
        const PREFIX: usize = 8;
        // The group is of the old format: object headers that are read later belong to its members.
        log.is_closed = true;
        let Some(n_entries) = number(&bytes, 6, 2) else {
            return bytes;
        };
        let n_entries = n_entries as usize;
        let entry_bytes = self.length_bytes + self.address_bytes + 24;
        let mut kept = Vec::with_capacity(bytes.len());
        let entries = bytes.get(PREFIX..).unwrap_or_default();
        let mut n_kept = 0_u16;
        for entry in entries.chunks_exact(entry_bytes).take(n_entries) {
            let address = entry.get(self.length_bytes..self.length_bytes + self.address_bytes);
            if address.is_some_and(|address| address.iter().all(|&byte| byte == 0xff)) {
                log.add(link_of_symbol(
                    entry,
                    &log.heap,
                    self.address_bytes,
                    self.length_bytes,
                ));
            } else {
                kept.extend_from_slice(entry);
                n_kept += 1;
            }
        }
        if entries.len() >= n_entries * entry_bytes && usize::from(n_kept) < n_entries {
            bytes[6..8].copy_from_slice(&n_kept.to_le_bytes());
            if let Some(place) = bytes.get_mut(PREFIX..PREFIX + kept.len()) {
                place.copy_from_slice(&kept);
            }
        }
        bytes
    }

    /// Makes layout messages of version 5 ones of version 4 in a part of an object header whose messages begin at `first`.
    fn with_known_layout(mut bytes: Vec<u8>, first: Option<usize>, log: &mut LinkLog) -> Vec<u8> {
        let Some(first) = first else { return bytes };
        let Some(end) = bytes.len().checked_sub(CHECKSUM_BYTES) else {
            return bytes;
        };
        // Only object headers of version 2 have signatures. Whether their messages state the order of creation is in the flags
        // of the first part; in a continuation both are tried.
        let widths: Cow<'_, [usize]> = match bytes.get(..4) {
            Some(b"OHDR") if bytes.get(5).is_some_and(|flags| flags & 0x04 != 0) => {
                Cow::Borrowed(&[6])
            }
            Some(b"OHDR") => Cow::Borrowed(&[4]),
            _ => Cow::Borrowed(&[4, 6]),
        };
        let mut changed = Vec::new();
        for &width in widths.iter() {
            let Some(messages) = messages(&bytes, first, end, width) else {
                continue;
            };
            for (kind, start, length) in messages {
                let Some(message) = bytes.get(start..start + length) else {
                    continue;
                };
                match kind {
                    LAYOUT_MESSAGE if message.first() == Some(&5) => changed.push(start),
                    LINK_MESSAGE if !log.is_closed => {
                        let link = link_of_message(message, false);
                        log.add(link);
                    }
                    _ => {}
                }
            }
            break;
        }
        if changed.is_empty() {
            return bytes;
        }
        // A damaged header keeps its wrong checksum.
        let was_whole = bytes.get(end..) == Some(&lookup3(&bytes[..end]).to_le_bytes()[..]);
        for start in changed {
            bytes[start] = 4;
        }
        if was_whole {
            let checksum = lookup3(&bytes[..end]).to_le_bytes();
            bytes[end..].copy_from_slice(&checksum);
        }
        bytes
    }
}

impl Source for AdaptedSource {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        self.inner.read_at(offset, buf)
    }

    fn read_metadata_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, FormatError> {
        let bytes = self.inner.read_exact_at(offset, len)?;
        Ok(self.adapt(offset, bytes))
    }
}

/// Returns kind, start and length of the messages from `first` to `end` with headers of `width` bytes; `None` if they do not
/// fill the space up to a gap that is shorter than a message's header.
fn messages(
    bytes: &[u8],
    first: usize,
    end: usize,
    width: usize,
) -> Option<Vec<(u8, usize, usize)>> {
    let mut found = Vec::new();
    let mut at = first;
    while at + width <= end {
        let kind = *bytes.get(at)?;
        let length = number(bytes, at + 1, 2)? as usize;
        let start = at + width;
        at = start.checked_add(length)?;
        if at > end {
            return None;
        }
        found.push((kind, start, length));
    }
    Some(found)
}

/// Returns true if `bytes` may be the prefix of an object header of version 1: the version, zero, the number of messages, the
/// number of links to the object, the length of the messages, and zeros.
fn is_old_prefix(bytes: &[u8]) -> bool {
    /// More hard links than an object has; the letters of a name are a greater number.
    const MAX_LINKS: u64 = 1 << 24;
    bytes.len() == OLD_PREFIX
        && bytes.starts_with(&[1, 0])
        && number(bytes, 4, 4).is_some_and(|links| links < MAX_LINKS)
        && number(bytes, 12, 4) == Some(0)
}

/// Returns kind and content of the messages in a part of an object header of version 1, up to one that reaches beyond it.
fn old_messages(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (kind, length) = (number(rest, 0, 2)?, number(rest, 2, 2)? as usize);
        let end = OLD_MESSAGE_PREFIX.checked_add(length)?;
        let message = rest.get(OLD_MESSAGE_PREFIX..end)?;
        rest = rest.get(end..)?;
        // Kinds beyond a byte are none that are known.
        Some((u8::try_from(kind).unwrap_or(u8::MAX), message))
    })
}

/// Returns the length of an object header's prefix, if `bytes` hold all of its first part.
fn prefix_bytes(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(5)?;
    let mut at = 6;
    if flags & 0x20 != 0 {
        at += 16;
    }
    if flags & 0x10 != 0 {
        at += 4;
    }
    let width = 1 << (flags & 0x03);
    let size = number(bytes, at, width)?;
    let first = at + width;
    let whole = usize::try_from(size)
        .ok()?
        .checked_add(first + CHECKSUM_BYTES)?;
    (bytes.len() == whole).then_some(first)
}

/// Returns where the superblock is, and the bytes of addresses and of lengths.
fn sizes(source: &impl Source) -> Option<(u64, usize, usize)> {
    const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
    let mut at = 0;
    loop {
        let start = source.read_exact_at(at, 16).ok()?;
        if start.starts_with(SIGNATURE) {
            let place = match *start.get(8)? {
                0 | 1 => 13,
                _ => 9,
            };
            let sizes = (
                usize::from(*start.get(place)?),
                usize::from(*start.get(place + 1)?),
            );
            let is_known = |size: usize| matches!(size, 2 | 4 | 8);
            return (is_known(sizes.0) && is_known(sizes.1)).then_some((at, sizes.0, sizes.1));
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
}
