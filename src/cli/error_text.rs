//! Errors as the command line prints them: the message, its causes, and hints that name options.

use std::fmt::Write as _;

use crate::error::{Error, ErrorKind, Hint, MissingReadout};
use crate::io::Remark;

/// Returns the text of an error that ends a command: its contexts before the text of the library's error, if there is one
/// among them.
pub(crate) fn chain_text(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<Error>() {
            parts.push(error_text(error));
            break;
        }
        parts.push(cause.to_string());
    }
    parts.join(": ")
}

/// Returns the exit code of an error that ends a command. An error that is not the library's is a defect of nuwave.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Error>())
        .map_or(ErrorKind::Internal, Error::kind)
        .exit_code()
}

/// Returns the text of an error of the library: message and causes in one line, hints below it.
pub(crate) fn error_text(error: &Error) -> String {
    let mut text = error.reason();
    for (index, hint) in error.hints().iter().enumerate() {
        let begin = if index == 0 { "\n\nhint: " } else { "\n      " };
        text += begin;
        text += &advice(hint);
    }
    text
}

/// Returns the text of a reader's remark, with its hint.
pub(crate) fn remark_text(remark: &Remark) -> String {
    match &remark.hint {
        None => remark.text.clone(),
        Some(hint) => format!("{} ({})", remark.text, advice(hint)),
    }
}

/// Returns a hint in terms of the options of the command line.
pub(crate) fn advice(hint: &Hint) -> String {
    let text = match hint {
        Hint::Text(text) => text,
        Hint::NameColumns { table, roles } => return name_columns(*table, roles),
        Hint::NameCharge { candidate } => {
            return format!(
                "if `{candidate}` holds charges in PE, give `--columns charge={candidate}`; convert other units first. With `--columns charge=none` every \
                 hit counts 1 PE"
            );
        }
        Hint::UseColumns(columns) => {
            let columns: Vec<String> = columns
                .iter()
                .map(|(role, name)| format!("{role}={name}"))
                .collect();
            return format!("`--columns {}` uses them", columns.join(","));
        }
        Hint::ChooseTable { example } => {
            let name = example.as_deref().unwrap_or("NAME");
            return format!("choose one with `--table {name}`");
        }
        Hint::ChannelPattern { pattern } => {
            let pattern = pattern.as_deref().unwrap_or("ch{channel}");
            return format!("if each is a channel, read all with `--channel-id '{pattern}'`");
        }
        Hint::RecordSamples { formats: None } => {
            "give the number of samples per waveform with `--record-samples N`"
        }
        Hint::RecordSamples {
            formats: Some(formats),
        } => {
            return format!(
                "nuwave reads {formats}; for a WaveDump binary without headers, give `--record-samples N`"
            );
        }
        Hint::SamplingInterval => {
            "calibrate with data of this digitiser, or correct the input's with `--sampling-ns`"
        }
        Hint::ChooseFilter { max_mhz } => {
            return format!(
                "frequencies go up to half the sampling rate, {max_mhz:.0} MHz here; `--filter auto` chooses"
            );
        }
        Hint::StatePolarity => {
            "give `--polarity negative` or `--polarity positive`; `nuwave inspect` shows what the data suggest"
        }
        Hint::StateReadout(missing) => return state_readout(missing),
        Hint::NameDetector => {
            "give `--detector NAME|FILE`, one with a geometry (`nuwave detector` lists the presets)"
        }
        Hint::NameInputs => "name files, or `--inputs-from FILE`",
        Hint::WithEvents => "leave out `--no-events` or `--from hits`",
        Hint::AdapterOrBackend => "leave out `--adapter` or `--backend`",
        Hint::SinglePulses => {
            "check `--polarity`, take a longer run, weaker light (0.1 to 1 photoelectrons per trigger), or lower \
             `--min-pulses`"
        }
        Hint::ChooseInput => "choose the input the truth belongs to with `--input-id N`",
        Hint::UseCpu => "`--backend cpu` gives the same hits without a GPU",
        Hint::ListAdapters => "`nuwave devices` lists the adapters of this machine",
        Hint::OtherOutput => "give another folder with `-o`",
        Hint::ReplaceOutput => {
            "give another folder with `-o`, or `--overwrite` to replace what nuwave left there"
        }
        Hint::MoveEntry => {
            "nuwave keeps unfinished output under this name; move the entry, or choose another `-o`"
        }
        Hint::ResumeOrReplace => "`--resume` continues with them, `--overwrite` starts over",
        Hint::SameSettings => {
            "continue with the settings it was started with, start over with `--overwrite` without `--resume`, or choose \
             another `-o`"
        }
        Hint::Resume {
            finished,
            units,
            folder,
        } => {
            return format!(
                "{finished} of {units} units are finished in `{}`; the same command with `--resume` continues from there",
                folder.display()
            );
        }
        Hint::CompleteOutput => {
            "the command that makes it completes it with `--resume`: the units that are finished are kept"
        }
        Hint::SmallerUnits => {
            "no unit was finished, so nothing is kept; with a smaller `--unit-size` finished units are kept, and \
             `--resume` continues with them"
        }
        Hint::ResumeLater => "once the file can be read again, `--resume` continues",
        Hint::ResumeOnceClosed => "once no program writes to it, `--resume` reads it again",
        Hint::SkipDamage => {
            "the run ends here because of `--on-error stop`; `--on-error skip` lists losses and continues"
        }
        Hint::OneShardedRun => "shards are made by the same command, apart from `--shard`",
    };
    text.to_owned()
}

/// Returns how to state what is missing: the options, with what the data suggest.
fn state_readout(missing: &MissingReadout) -> String {
    let mut options = Vec::new();
    if missing.detector {
        options.push("--calibration FILE".to_owned());
    }
    if missing.polarity {
        let direction = match missing.pulses {
            Some((_, negative, positive)) if negative > 2 * positive => "negative",
            Some((_, negative, positive)) if positive > 2 * negative => "positive",
            _ => "negative|positive",
        };
        options.push(format!("--polarity {direction}"));
    }
    if missing.sampling {
        options.push("--sampling-ns NS".to_owned());
    }
    let options = options.join(" ");
    let mut text = if missing.detector {
        format!(
            "add `--detector NAME|FILE`, which says all of it (`nuwave detector` lists the presets), or `{options}` (`nuwave calibrate spe` makes calibrations)"
        )
    } else {
        format!("add `{options}`, or `--detector NAME|FILE`, which says it")
    };
    if let Some((waveforms, negative, positive)) = missing.pulses.filter(|_| missing.polarity) {
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            "; waveforms looked at: {waveforms}, with a negative pulse: {negative}, with a positive one: {positive}"
        );
    }
    text
}

fn name_columns(table: bool, roles: &[&str]) -> String {
    let columns: Vec<String> = roles.iter().map(|role| format!("{role}=NAME")).collect();
    let columns = format!("`--columns {}`", columns.join(","));
    if table {
        format!("name the table with `--table NAME` and its columns with {columns}")
    } else {
        format!("name the columns with {columns}")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn hints_follow_the_message_and_name_options() {
        let error = Error::input(Path::new("run.h5"), "has no table of waveforms")
            .with_hint(Hint::NameColumns {
                table: true,
                roles: &["event", "samples"],
            })
            .and_hint(Hint::UseCpu);
        assert_eq!(
            error_text(&error),
            "`run.h5`: has no table of waveforms\n\n\
             hint: name the table with `--table NAME` and its columns with `--columns event=NAME,samples=NAME`\n      \
             `--backend cpu` gives the same hits without a GPU"
        );
    }

    #[test]
    fn contexts_precede_the_error_and_keep_its_exit_code() {
        use anyhow::Context as _;
        let own = Error::usage("no input").with_hint(Hint::NameInputs);
        let error = Err::<(), _>(own).context("the plan").expect_err("an error");
        assert_eq!(
            chain_text(&error),
            "the plan: no input\n\nhint: name files, or `--inputs-from FILE`"
        );
        assert_eq!(exit_code(&error), 2);
        let foreign = std::io::Error::other("closed");
        let error = Err::<(), _>(foreign)
            .context("the report")
            .expect_err("an error");
        assert_eq!(chain_text(&error), "the report: closed");
        assert_eq!(exit_code(&error), 70);
    }
}
