//! Finds the columns of a table of hits by their names.

use std::path::Path;

use crate::error::{Error, Hint, Result};
use crate::io::waveforms::names::{CHANNEL_NAMES, EVENT_NAMES, plain};
use crate::io::{ReadOptions, Remark};

/// The role of a column in a table of hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Input,
    Event,
    Channel,
    Time,
    Charge,
    Flags,
}

impl Role {
    /// The roles that identify the event of a row.
    pub const EVENT_ROLES: &'static [Self] = &[Self::Input, Self::Event];
    /// All roles of a hit.
    pub const HIT_ROLES: &'static [Self] = &[
        Self::Input,
        Self::Event,
        Self::Channel,
        Self::Time,
        Self::Charge,
        Self::Flags,
    ];

    /// Returns the name in tables of nuwave.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input_id",
            Self::Event => "event_id",
            Self::Channel => "channel_id",
            Self::Time => "time_ns",
            Self::Charge => "charge_pe",
            Self::Flags => "flags",
        }
    }

    /// Returns the name by which the user chooses the column.
    pub fn column(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Event => "event",
            Self::Channel => "channel",
            Self::Time => "time",
            Self::Charge => "charge",
            Self::Flags => "flags",
        }
    }

    /// Returns true for roles that are integers.
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::Time | Self::Charge)
    }

    /// Returns the usual names in lower case without `_`, `-` and blanks, in several lists. The first name that a table has is
    /// taken. Events and channels have the same names as those of waveforms.
    fn usual(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Input => &[&["inputid"]],
            Self::Event => &[EVENT_NAMES],
            Self::Channel => &[CHANNEL_NAMES],
            Self::Time => &[&["timens", "tns", "hittimens", "time", "hittime"]],
            Self::Charge => &[PHOTOELECTRON_NAMES, RAW_CHARGE_NAMES],
            Self::Flags => &[&["flags"]],
        }
    }

    /// Returns the name that the user gave and that a table must have. [`NO_CHARGE`] names no column.
    pub fn required(self, options: &ReadOptions) -> Option<&str> {
        let is_column = |name: &&str| self != Self::Charge || *name != NO_CHARGE;
        self.wanted(options).filter(is_column)
    }

    /// Returns the name that the user gave.
    pub fn wanted(self, options: &ReadOptions) -> Option<&str> {
        match self {
            Self::Event => options.event_column.as_deref(),
            Self::Channel => options.channel_column.as_deref(),
            Self::Time => options.time_column.as_deref(),
            Self::Charge => options.charge_column.as_deref(),
            Self::Input | Self::Flags => None,
        }
    }
}

/// The name of the column of charges by which the user says that every hit counts one photoelectron.
pub(crate) const NO_CHARGE: &str = "none";

/// Names of charges that say photoelectrons. They go before those that do not.
const PHOTOELECTRON_NAMES: &[&str] = &[
    "chargepe",
    "hitchargepe",
    "qpe",
    "npe",
    "pe",
    "numpe",
    "hitnpe",
    "hitpe",
    "chargeinpe",
    "npes",
    "nphe",
    "photoelectrons",
    "nphotoelectrons",
    "numphotoelectrons",
];
/// Names of charges that do not say their unit.
const RAW_CHARGE_NAMES: &[&str] = &["charge", "hitcharge", "q"];

/// Parts of names of columns that may hold a charge, in a unit that is not known.
const CHARGE_WORDS: [&str; 14] = [
    "charge", "npe", "photon", "photoel", "phe", "adc", "qdc", "ampl", "integral", "area",
    "height", "peak", "signal", "light",
];
/// Whole names of such columns.
const CHARGE_NAMES: [&str; 8] = [
    "tot",
    "pes",
    "amp",
    "qtot",
    "weight",
    "a",
    "timeoverthreshold",
    "pulse",
];

/// Checks a table of hits without a known column of charges, and returns what a user should know: that every hit counts one photoelectron.
/// `names` are the columns without a role that hold numbers.
///
/// # Errors
/// If one of them may hold the charge, unless the user said that every hit counts one photoelectron.
pub(crate) fn without_charge(path: &Path, names: &[&str], options: &ReadOptions) -> Result<Remark> {
    if Role::Charge.wanted(options) == Some(NO_CHARGE) {
        return Ok(Remark::note(
            "every hit counts 1 PE, as demanded; columns of charges are not read",
        ));
    }
    let is_candidate = |name: &&str| {
        let name = plain(name);
        CHARGE_WORDS.iter().any(|word| name.contains(word)) || CHARGE_NAMES.contains(&name.as_str())
    };
    let candidates: Vec<&str> = names.iter().copied().filter(is_candidate).collect();
    if let Some(&first) = candidates.first() {
        let error = Error::input(
            path,
            format!(
                "has no column that is known to hold charges in photoelectrons; `{}` may do so",
                candidates.join("`, `")
            ),
        );
        return Err(error.with_hint(Hint::NameCharge {
            candidate: first.to_owned(),
        }));
    }
    let others = if names.is_empty() {
        String::new()
    } else {
        format!("; columns that are not used: `{}`", names.join("`, `"))
    };
    Ok(Remark {
        text: format!("has no column of charges: every hit counts 1 PE{others}"),
        is_warning: !names.is_empty(),
        hint: None,
    })
}

/// Returns what a user should know about the choice of the column `taken` as the charges: which others could be the charges by
/// their names. `names` are the columns without a role that hold numbers.
///
/// # Errors
/// If another one says photoelectrons as well, unless the user named the column.
pub(crate) fn other_charges(
    path: &Path,
    taken: &str,
    names: &[&str],
    options: &ReadOptions,
) -> Result<Option<Remark>> {
    if Role::Charge.wanted(options).is_some() {
        return Ok(None);
    }
    let is_in = |name: &str, list: &[&str]| list.contains(&plain(name).as_str());
    let says_photoelectrons = is_in(taken, PHOTOELECTRON_NAMES);
    let rival = names.iter().find(|name| is_in(name, PHOTOELECTRON_NAMES));
    if let Some(rival) = rival.filter(|_| says_photoelectrons) {
        return Err(Error::input(
            path,
            format!("both `{taken}` and `{rival}` could be the charges in photoelectrons"),
        )
        .with_hint(Hint::NameCharge {
            candidate: taken.to_owned(),
        }));
    }
    let raw: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| is_in(name, RAW_CHARGE_NAMES))
        .collect();
    let Some(&first) = raw.first() else {
        return Ok(None);
    };
    let reason = if says_photoelectrons {
        ", whose name says photoelectrons,"
    } else {
        ""
    };
    let remark = Remark::note(format!(
        "takes `{taken}`{reason} as the charges, and not `{}`",
        raw.join("` and `")
    ));
    Ok(Some(remark.with_hint(Hint::UseColumns(vec![(
        Role::Charge.column(),
        first.to_owned(),
    )]))))
}

/// Returns the index in `names` of the column with `role`: the one that the user named, else one with a usual name.
pub(crate) fn find(names: &[&str], role: Role, options: &ReadOptions) -> Option<usize> {
    if role == Role::Charge && role.wanted(options) == Some(NO_CHARGE) {
        return None;
    }
    if let Some(wanted) = role.wanted(options) {
        return names.iter().position(|name| *name == wanted);
    }
    role.usual()
        .iter()
        .copied()
        .flatten()
        .find_map(|usual| names.iter().position(|name| plain(name) == *usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_known_and_the_users_go_first() {
        let names = ["sensor_id", "truth_EventID", "EventID", "ChannelID", "t_ns"];
        let usual = ReadOptions::default();
        assert_eq!(find(&names, Role::Event, &usual), Some(2));
        assert_eq!(find(&names, Role::Channel, &usual), Some(3));
        assert_eq!(find(&names, Role::Time, &usual), Some(4));
        assert_eq!(find(&names, Role::Charge, &usual), None);
        let chosen = ReadOptions {
            channel_column: Some("sensor_id".to_owned()),
            time_column: Some("T_NS".to_owned()),
            ..ReadOptions::default()
        };
        assert_eq!(find(&names, Role::Channel, &chosen), Some(0));
        assert_eq!(find(&names, Role::Time, &chosen), None);
    }

    #[test]
    fn charges_that_say_photoelectrons_go_first() {
        let usual = ReadOptions::default();
        for names in [
            ["charge", "npe"],
            ["q", "PE"],
            ["hit_charge", "num_pe"],
            ["Q", "charge_pe"],
        ] {
            assert_eq!(find(&names, Role::Charge, &usual), Some(1), "{names:?}");
            let path = Path::new("hits.parquet");
            let remark = other_charges(path, names[1], &names[..1], &usual);
            let remark = remark.expect("a choice").expect("a note");
            assert!(!remark.is_warning && remark.text.contains(names[0]));
            assert!(other_charges(path, names[1], &["nPE_", "gain"], &usual).is_err());
        }
    }

    #[test]
    fn events_and_channels_have_the_names_of_waveforms() {
        let usual = ReadOptions::default();
        for (event, channel) in [
            ("ev", "pmt"),
            ("evt", "chan"),
            ("Trigger", "sensor_id_of_hit"),
        ] {
            let names = [event, channel];
            assert_eq!(find(&names, Role::Event, &usual), Some(0), "{event}");
            assert_eq!(find(&names, Role::Channel, &usual), Some(1), "{channel}");
        }
    }
}
