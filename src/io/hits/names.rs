//! Finds the columns of a table of hits by their names.

use crate::io::ReadOptions;

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

    /// Returns true for roles that are integers.
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::Time | Self::Charge)
    }

    /// Returns the usual names in lower case without `_`, `-` and blanks. The first one that a table has is taken.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Input => &["inputid"],
            Self::Event => &[
                "eventid",
                "event",
                "eventno",
                "eventnumber",
                "triggerno",
                "triggerid",
                "evtid",
                "evid",
            ],
            Self::Channel => &[
                "channelid",
                "channel",
                "channelno",
                "sensoridofhit",
                "pmtid",
                "chid",
                "ch",
            ],
            Self::Time => &["timens", "tns", "hittimens", "time", "hittime"],
            Self::Charge => &["chargepe", "charge", "qpe", "q"],
            Self::Flags => &["flags"],
        }
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

/// Returns the index in `names` of the column with `role`: the one that the user named, else one with a usual name.
pub(crate) fn find(names: &[&str], role: Role, options: &ReadOptions) -> Option<usize> {
    if let Some(wanted) = role.wanted(options) {
        return names.iter().position(|name| *name == wanted);
    }
    let plain = |name: &str| {
        let kept = name.chars().filter(|it| !matches!(it, '_' | '-' | ' '));
        kept.collect::<String>().to_ascii_lowercase()
    };
    role.usual()
        .iter()
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
}
