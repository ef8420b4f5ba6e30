//! One group or dataset per channel: those whose names fit a pattern, read one after the other.

use std::path::Path;

use super::layout;
use super::read::Reader;
use crate::error::{Error, Result};
use crate::io::hdf5_file::{Hdf5File, Listing};
use crate::io::waveforms::blocks::{Block, BlockReader};
use crate::io::{ChannelId, Extent, ReadOptions, Remark, SourceInfo};

/// The waveforms of several groups or datasets.
pub(super) struct Groups {
    info: SourceInfo,
    readers: Vec<Reader>,
    names: Vec<String>,
    /// Position of the first waveform of each group.
    starts: Vec<u64>,
    current: usize,
}

impl Groups {
    /// Opens the groups that fit the pattern of channels in `options`, or else the datasets of any name; `None` if there is no
    /// pattern, or nothing fits it.
    pub fn open(
        file: &Hdf5File,
        listing: &Listing,
        path: &Path,
        n_bytes: u64,
        options: &ReadOptions,
    ) -> Result<Option<Self>> {
        let Some(ChannelId::Pattern(pattern)) = &options.channel_id else {
            return Ok(None);
        };
        let candidates = layout::candidate_paths(listing, options);
        let has_samples = !candidates.is_empty();
        let of_groups: Vec<(u32, String)> = candidates
            .into_iter()
            .filter_map(|name| {
                let group = name.rsplit_once('/').map_or("", |(group, _)| group);
                let number = pattern.number(group).or_else(|| pattern.number(&name))?;
                Some((number, name))
            })
            .collect();
        let of_datasets = layout::channel_paths(listing, pattern, options);
        let (mut named, unread, what) = match (has_samples, &options.samples_column) {
            (true, _) => (of_groups, of_datasets, "groups"),
            (false, None) => (of_datasets, Vec::new(), "datasets"),
            (false, Some(_)) => return Ok(None),
        };
        named.sort();
        check_unique(path, &named)?;
        let unread = unread_channels(&named, &unread, options);
        let (mut readers, mut groups, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        let mut info: Option<SourceInfo> = None;
        let mut end = 0;
        for (number, name) in named {
            let options = ReadOptions {
                table: Some(name.clone()),
                channel_id: Some(ChannelId::Number(number)),
                ..options.clone()
            };
            let found = layout::find(listing, path, n_bytes, &options)?;
            let reader = Reader::new(&file.file, path, n_bytes, found, &options)?;
            let own = reader.info();
            starts.push(end);
            end += own.n_waveforms.unwrap_or(0);
            match &mut info {
                None => info = Some(own.clone()),
                Some(info) => join(info, own, &name)?,
            }
            groups.push(name);
            readers.push(reader);
        }
        let Some(mut info) = info else {
            return Ok(None);
        };
        info.remarks.extend(unread);
        info.n_waveforms = Some(end);
        info.extent = Extent::rows(end, info.extent.samples);
        info.layout = format!(
            "{} {what}, the first is `/{}`, channels from their names",
            groups.len(),
            groups.first().map_or("", String::as_str)
        );
        Ok(Some(Self {
            info,
            readers,
            names: groups,
            starts,
            current: 0,
        }))
    }

    /// Begins with the next group.
    fn advance(&mut self) -> Result<()> {
        if let Some(reader) = self.readers.get(self.current) {
            reader.release();
        }
        self.current += 1;
        match self.readers.get_mut(self.current) {
            Some(reader) => reader.seek(0),
            None => Ok(()),
        }
    }
}

/// Refuses two groups or datasets of one channel; they are sorted by it.
fn check_unique(path: &Path, named: &[(u32, String)]) -> Result<()> {
    for pair in named.windows(2) {
        if let [(number, first), (other, second)] = pair
            && number == other
        {
            return Err(Error::input(
                path,
                format!("both `/{first}` and `/{second}` could be channel {number}"),
            )
            .with_hint("name more of the path in the pattern of the channels"));
        }
    }
    Ok(())
}

/// Returns the warning that the user named samples, so that datasets of other channels that fit the pattern are not read.
fn unread_channels(
    named: &[(u32, String)],
    fitting: &[(u32, String)],
    options: &ReadOptions,
) -> Option<Remark> {
    /// Maximum number of datasets that are named.
    const MAX_NAMED: usize = 8;
    let samples = options.samples_column.as_deref()?;
    let others: Vec<&str> = fitting
        .iter()
        .filter(|(number, _)| named.iter().all(|(known, _)| known != number))
        .map(|(_, name)| name.as_str())
        .collect();
    let more = match others.len().checked_sub(MAX_NAMED) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    let first: Vec<&str> = others.iter().copied().take(MAX_NAMED).collect();
    (!others.is_empty()).then(|| {
        Remark::warning(format!(
            "takes the samples from `{samples}` only, as demanded: `/{}`{more} fit the pattern of the channels too",
            first.join("`, `/")
        ))
    })
}

/// Adds what another group `name` says to the description of all.
fn join(info: &mut SourceInfo, other: &SourceInfo, name: &str) -> Result<()> {
    let readout = |info: &SourceInfo| (info.sampling_ns, info.polarity, info.adc_bits);
    if readout(info) != readout(other) || info.sample_type != other.sample_type {
        return Err(Error::input(
            &info.path,
            format!(
                "the group of `/{name}` has another readout or sample type than those before it"
            ),
        )
        .with_hint("reconstruct such groups in separate runs"));
    }
    if info.n_samples != other.n_samples {
        info.n_samples = None;
    }
    info.extent.samples = info.extent.samples.max(other.extent.samples);
    info.has_truth |= other.has_truth;
    Ok(())
}

impl BlockReader for Groups {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        let reader = self.readers.get(self.current);
        let start = self.starts.get(self.current);
        match reader.zip(start) {
            Some((reader, start)) => start + reader.position(),
            None => self.info.extent.end,
        }
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        if let Some(reader) = self.readers.get(self.current) {
            reader.release();
        }
        let after = self.starts.partition_point(|&start| start <= position);
        self.current = after.saturating_sub(1);
        let start = self.starts.get(self.current).copied().unwrap_or(0);
        match self.readers.get_mut(self.current) {
            Some(reader) => reader.seek(position - start),
            None => Ok(()),
        }
    }

    fn next_events(&mut self) -> Result<Option<Vec<u64>>> {
        while let Some(reader) = self.readers.get_mut(self.current) {
            if let Some(events) = reader.next_events()? {
                return Ok(Some(events));
            }
            self.advance()?;
        }
        Ok(None)
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        while let Some(reader) = self.readers.get_mut(self.current) {
            let Some(mut block) = reader.next_block()? else {
                self.advance()?;
                continue;
            };
            let start = self.starts.get(self.current).copied().unwrap_or(0);
            let name = self.names.get(self.current).map_or("", String::as_str);
            for position in &mut block.positions {
                *position += start;
            }
            for loss in &mut block.losses {
                loss.position += start;
                loss.place = format!("`/{name}`, {}", loss.place);
            }
            return Ok(Some(block));
        }
        Ok(None)
    }
}
