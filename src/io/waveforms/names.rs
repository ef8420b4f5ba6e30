//! The names of columns that are taken without being asked for. All formats follow the same rule: the user's names go first,
//! then the names below, in their order. Names are compared in lower case without `_`, `-` and blanks.

use std::path::Path;

use crate::error::{Error, Hint};
use crate::io::Remark;

/// The role of a column in a table of waveforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Event,
    Channel,
    Samples,
    Start,
    Length,
}

/// Names of events, in waveforms and hits, the most usual first.
pub(crate) const EVENT_NAMES: &[&str] = &[
    "eventid",
    "event",
    "events",
    "eventno",
    "eventnumber",
    "triggerno",
    "triggerid",
    "trigger",
    "triggernumber",
    "evt",
    "evtid",
    "evid",
    "ev",
];
/// Names of channels, in waveforms and hits, the most usual first.
pub(crate) const CHANNEL_NAMES: &[&str] = &[
    "channelid",
    "channel",
    "channels",
    "channelno",
    "channelnumber",
    "ch",
    "chid",
    "chan",
    "pmtid",
    "pmt",
    "sensoridofhit",
];
const SAMPLES_NAMES: &[&str] = &[
    "samples",
    "waveform",
    "waveforms",
    "wf",
    "wfs",
    "wave",
    "waves",
    "trace",
    "traces",
    "adc",
];

impl Role {
    /// Returns the usual names, the most usual first.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Event => EVENT_NAMES,
            Self::Channel => CHANNEL_NAMES,
            Self::Samples => SAMPLES_NAMES,
            Self::Start => &["startns"],
            Self::Length => &["nsamples"],
        }
    }

    /// Returns the role's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Channel => "channel",
            Self::Samples => "samples",
            Self::Start => "start of the window",
            Self::Length => "number of samples",
        }
    }

    /// Returns the name that nuwave itself writes.
    pub fn own(self) -> &'static str {
        match self {
            Self::Event => "event_id",
            Self::Channel => "channel_id",
            Self::Samples => "samples",
            Self::Start => "start_ns",
            Self::Length => "n_samples",
        }
    }

    /// Returns true if an unused column of this name probably has this role.
    fn is_suggested_by(self, name: &str) -> bool {
        const OTHER: [&str; 12] = [
            "time", "stamp", "charge", "count", "type", "mask", "gain", "flag", "status", "bits",
            "length", "offset",
        ];
        let plain = plain(name);
        if OTHER.iter().any(|other| plain.contains(other)) || plain.starts_with("nev") {
            return false;
        }
        let has = |words: &[&str]| words.iter().any(|word| plain.contains(word));
        match self {
            Self::Event => plain.starts_with("ev") || has(&["event", "evt", "trig"]),
            Self::Channel => {
                plain.starts_with("ch")
                    || has(&[
                        "chan", "pmt", "sensor", "pixel", "sipm", "detector", "detid", "strip",
                    ])
            }
            _ => false,
        }
    }
}

/// Returns the index in `names` of the column with `role`: the one that the user `wanted`, else one with a usual name.
pub(crate) fn find(names: &[&str], role: Role, wanted: Option<&str>) -> Option<usize> {
    if let Some(wanted) = wanted {
        return names.iter().position(|name| *name == wanted);
    }
    role.usual()
        .iter()
        .find_map(|usual| names.iter().position(|name| plain(name) == *usual))
}

/// Returns true if `name` is the one that the user named, or a usual name if the user named none.
pub(crate) fn is_named(name: &str, role: Role, wanted: Option<&str>) -> bool {
    find(&[name], role, wanted).is_some()
}

/// Returns the remark on columns that were taken because of their names, if those are not nuwave's own.
pub(crate) fn guessed(columns: &[(Role, &str)]) -> Option<Remark> {
    let others: Vec<String> = columns
        .iter()
        .filter(|(role, name)| *name != role.own())
        .map(|(role, name)| format!("`{name}` as {}", role.name()))
        .collect();
    (!others.is_empty())
        .then(|| Remark::note(format!("by their names, takes {}", others.join(", "))))
}

/// Returns the remark on the event or channel that the file may have under names that are not taken without being asked for: those
/// that suggest the role, and all others if a role has none that does.
/// `missing` are the roles that no column has, `unused` the names of columns of integers, one per waveform.
pub(crate) fn unused(missing: &[Role], unused: &[&str]) -> Option<Remark> {
    let suggested = suggested(missing, unused);
    let is_suggested = |name: &str| suggested.iter().any(|(_, found)| found == name);
    let others: Vec<String> = unused
        .iter()
        .filter(|name| suggested.len() < missing.len() && !is_suggested(name))
        .map(|name| format!("`{name}`"))
        .collect();
    if suggested.is_empty() && others.is_empty() {
        return None;
    }
    let roles = missing.iter().filter(|role| {
        let has_name = suggested.iter().any(|(found, _)| *found == role.name());
        has_name || !others.is_empty()
    });
    let instead: Vec<&str> = roles
        .map(|role| match role {
            Role::Event => "the event is the number of the row",
            _ => "all waveforms are of channel 0",
        })
        .collect();
    let mut names: Vec<String> = suggested
        .iter()
        .map(|(role, name)| format!("`{name}`, which may be the {role}"))
        .collect();
    if !others.is_empty() {
        names.push(others.join(" or "));
    }
    let hint = if suggested.is_empty() {
        let roles: &[&str] = match missing {
            [Role::Event] => &["event"],
            [Role::Channel] => &["channel"],
            _ => &["event", "channel"],
        };
        Hint::NameColumns {
            table: false,
            roles,
        }
    } else {
        Hint::UseColumns(suggested)
    };
    Some(
        Remark::warning(format!(
            "does not use {}: {}",
            names.join(", or "),
            instead.join(", and ")
        ))
        .with_hint(hint),
    )
}

/// Returns the error of a single number in place of one for each of the `n_rows` waveforms.
pub(crate) fn single_number(path: &Path, what: &str, role: Role, n_rows: u64) -> Error {
    let error = Error::input(
        path,
        format!(
            "{what}, the {} of the waveforms, is a single number, not one for each of {n_rows}",
            role.name()
        ),
    );
    error.with_hint(format!(
        "write an array of {n_rows} numbers: in Python `numpy.full({n_rows}, x)`"
    ))
}

/// Returns the names in `unused` that suggest one of the roles, the first of each.
pub(crate) fn suggested(missing: &[Role], unused: &[&str]) -> Vec<(&'static str, String)> {
    let mut taken: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for &role in missing {
        let name = unused
            .iter()
            .find(|name| role.is_suggested_by(name) && !taken.contains(name));
        if let Some(name) = name {
            taken.push(name);
            found.push((role.name(), (*name).to_owned()));
        }
    }
    found
}

/// Names of columns that may hold the starts of the windows. They are not taken: they may also count ticks, or be the time of a trigger.
const POSSIBLE_STARTS: [&str; 12] = [
    "t0",
    "t0ns",
    "start",
    "starttime",
    "windowstart",
    "windowstartns",
    "time",
    "timens",
    "timestamp",
    "timestampns",
    "triggertime",
    "triggertimens",
];

/// Returns the note on a column that may hold the starts of the windows, if none does.
pub(crate) fn possible_start<'a>(
    start: Option<&str>,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<Remark> {
    let is_known = |name: &str| find(&[name], Role::Start, start).is_some();
    let mut possible = None;
    for name in names {
        if is_known(name) {
            return None;
        }
        let is_possible = POSSIBLE_STARTS.contains(&plain(name).as_str());
        possible = possible.or(is_possible.then_some(name));
    }
    possible.map(|name| {
        let text = format!(
            "`{name}` is not used: times count from the start of each window; it may be the start of the window in ns"
        );
        Remark::note(text).with_hint(Hint::UseColumns(vec![("start", name.to_owned())]))
    })
}

/// Returns a name in lower case without `_`, `-` and blanks.
pub(crate) fn plain(name: &str) -> String {
    let kept = name.chars().filter(|it| !matches!(it, '_' | '-' | ' '));
    kept.collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_name_goes_first_and_usual_names_have_an_order() {
        let names = ["trigger", "Event_ID", "ch", "wf"];
        assert_eq!(find(&names, Role::Event, None), Some(1));
        assert_eq!(find(&names, Role::Event, Some("trigger")), Some(0));
        assert_eq!(find(&names, Role::Event, Some("event")), None);
        assert_eq!(find(&names, Role::Channel, None), Some(2));
        assert_eq!(find(&names, Role::Samples, None), Some(3));
        assert!(is_named("EV", Role::Event, None));
        assert!(!is_named("evening", Role::Event, None));
    }

    #[test]
    fn columns_that_may_be_events_or_channels_are_suggested() {
        let missing = [Role::Event, Role::Channel];
        let unused = ["timestamp", "trigger_time", "evt_nr", "sensor", "n_events"];
        assert_eq!(
            suggested(&missing, &unused),
            [
                ("event", "evt_nr".to_owned()),
                ("channel", "sensor".to_owned())
            ]
        );
        assert!(suggested(&missing, &["n_events", "gain_of_channel", "x"]).is_empty());
        assert!(suggested(&[Role::Channel], &["evt_nr"]).is_empty());
    }

    #[test]
    fn columns_whose_names_say_nothing_are_all_named() {
        let both = [Role::Event, Role::Channel];
        let remark = unused(&both, &["eid", "cid"]).expect("a warning");
        assert!(remark.is_warning);
        assert_eq!(
            remark.text,
            "does not use `eid` or `cid`: the event is the number of the row, and all waveforms are of channel 0"
        );
        assert!(matches!(remark.hint, Some(Hint::NameColumns { .. })));
        let remark = unused(&both, &["entry", "sensor"]).expect("a warning");
        assert_eq!(
            remark.text,
            "does not use `sensor`, which may be the channel, or `entry`: the event is the number of the row, and all \
             waveforms are of channel 0"
        );
        assert!(matches!(remark.hint, Some(Hint::UseColumns(_))));
        // Both are suggested: what else there is does not matter.
        let remark = unused(&both, &["evt_nr", "gain", "sensor"]).expect("a warning");
        assert!(!remark.text.contains("gain"), "{}", remark.text);
        assert!(unused(&both, &[]).is_none() && unused(&[], &["eid"]).is_none());
    }
}
