//! Which arguments stand on the command line, so that those which would do nothing are refused by name: a value alone does
//! not tell whether it was asked for or is the default. Reads no value.

use std::collections::BTreeSet;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};

use crate::{Error, Result};

/// Flags of [`CalibrationArgs`](super::CalibrationArgs) about how our quantizer works.
pub const METHODS: [&str; 5] = ["--method", "--equalize", "--adaround", "--bias-correction", "--float-macs"];
/// The flag of [`CalibrationArgs`](super::CalibrationArgs) about what is quantized, whoever does that.
pub const BOXES: &str = "--spread-boxes";
/// Flags of [`CalibrationArgs`](super::CalibrationArgs) about training on.
pub const TRAINING: [&str; 5] = ["--qat", "--qat-batch", "--qat-device", "--qat-seed", "--qat-threads"];
/// Flags of [`CalibrationArgs`](super::CalibrationArgs) about the images.
pub const IMAGES: [&str; 3] = ["--calib", "--calib-split", "--images"];

/// The flags that stand on the command line. No argument of its own: flattened into a command's arguments, before all
/// others, because reading those takes them away.
#[derive(Debug, Clone, Default)]
pub struct Given(BTreeSet<String>);

impl Given {
    /// The first of `flags` that was given.
    pub fn first_of<'f>(&self, flags: impl IntoIterator<Item = &'f str>) -> Option<&'f str> {
        flags.into_iter().find(|flag| self.0.contains(*flag))
    }

    /// Checks that none of `flags` was given, which would do nothing.
    ///
    /// # Errors
    /// What `refusal` says of the first that was.
    pub fn expect_none<'f>(
        &self,
        flags: impl IntoIterator<Item = &'f str>,
        refusal: impl FnOnce(&str) -> Error,
    ) -> Result<()> {
        self.first_of(flags).map_or(Ok(()), |flag| Err(refusal(flag)))
    }
}

/// All flags that tell how our quantizer works and on what.
pub fn calibration() -> impl Iterator<Item = &'static str> {
    IMAGES.into_iter().chain([BOXES]).chain(METHODS).chain(TRAINING)
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let ids = matches.ids().map(clap::Id::as_str);
        let given = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        Ok(Self(given.map(|id| format!("--{}", id.replace('_', "-"))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::convert::Args;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn what_is_given_is_told_from_what_is_the_default() {
        let words = ["program", "run", "--out", "x.bundle", "--method", "auto", "--images=64"];
        let Program { args } = Program::parse_from(words);
        assert_eq!(args.given.first_of(METHODS), Some("--method"));
        assert_eq!(args.given.first_of(IMAGES), Some("--images"));
        assert_eq!(args.given.first_of(TRAINING), None);
        let Program { args } = Program::parse_from(&words[..4]);
        assert_eq!(args.given.first_of(calibration()), None);
    }

    /// A flag that is renamed would be asked for in vain from then on.
    #[test]
    fn every_flag_that_is_asked_for_is_one() {
        let command = Program::command();
        let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let asked = calibration().filter(|flag| cfg!(feature = "torch") || !TRAINING.contains(flag));
        for flag in asked.chain(crate::cli::npu::FLAGS) {
            assert!(known.contains(&flag.trim_start_matches("--")), "{flag} is none of {known:?}");
            let id = flag.trim_start_matches("--").replace('-', "_");
            assert!(command.get_arguments().any(|argument| argument.get_id() == id.as_str()), "{flag}");
        }
    }
}
