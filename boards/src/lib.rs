//! Board facts as data: the folder `NAME` with its `board.toml` is the board, and no other place knows its facts.
//! The files are embedded, so no path is needed at run time. Never talks to a board, never runs a model.
//!
//! A file may begin with `inherit = "BASE"`: then `bases/BASE.toml` is read first and the board's own keys are laid over
//! it. Bases may inherit too; none is a board.

mod error;
mod inherit;
mod nearest;
mod reader;
mod schema;
mod tree;
mod validate;

pub use error::{Error, Place};
pub use schema::{
    Activation, Arch, Backend, Between, Board, Budget, Bus, Camera, Clock, ClockKind, Display, Domain, Flash,
    Int8, Layout, Method, Npu, Outputs, PixelFormat, Precision, RuntimeLibrary, Scales, Target, Tier, Usb,
    Version,
};

/// Folder name and text of every `board.toml`, in name order.
const BOARDS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/boards.rs"));
/// Name and text of every base.
const BASES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/bases.rs"));

/// Names of all boards, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    BOARDS.iter().map(|(name, _)| *name)
}

/// Every embedded file that makes the board called `name`, its own first: path from the root of the repository, and
/// text.
///
/// # Errors
/// As [`Board::find`].
pub fn sources(name: &str) -> Result<Vec<(String, &'static str)>, Error> {
    let text = embedded(name)?;
    let mut sources = vec![(board_file(name), text)];
    sources.extend(inherit::bases_of(&board_file(name), text, BASES)?);
    Ok(sources)
}

impl Board {
    /// The board called `name`, read from its embedded file and validated.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the known names, or what [`Board::parse`] reports.
    pub fn find(name: &str) -> Result<Self, Error> {
        Self::parse(name, embedded(name)?)
    }

    /// Whether a device tree with these names may be this board's. Where either has none, nothing speaks against it.
    pub fn fits_names<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut names = names.into_iter().peekable();
        let is_ours = |name: &str| self.compatible.iter().any(|ours| name.starts_with(ours));
        self.compatible.is_empty() || names.peek().is_none() || names.any(is_ours)
    }

    /// Reads and validates the text of `boards/folder/board.toml`.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is no TOML of the schema, [`Error::Check`] when it says something impossible.
    pub fn parse(folder: &str, text: &str) -> Result<Self, Error> {
        let tree = inherit::resolve(&board_file(folder), text, BASES)?;
        let board: Self = reader::read(&tree)?;
        board.checked(folder).map_err(|failed| failed.at(|key| tree.place_of(key).clone()))?;
        Ok(board)
    }
}

fn embedded(name: &str) -> Result<&'static str, Error> {
    BOARDS.iter().find(|(folder, _)| *folder == name).map(|(_, text)| *text).ok_or_else(|| Error::Unknown {
        name: name.to_owned(),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

fn board_file(folder: &str) -> String {
    format!("boards/{folder}/board.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_file_is_valid() {
        assert!(names().count() > 0);
        for name in names() {
            assert_eq!(Board::find(name).unwrap_or_else(|error| panic!("{error}")).name, name);
        }
    }

    #[test]
    fn unknown_board_lists_the_known() {
        let error = Board::find("rk3558").unwrap_err().to_string();
        assert!(
            error.contains("rk3558") && error.contains("host") && error.contains("did you mean"),
            "{error}"
        );
    }

    #[test]
    fn scales_are_a_boards_own_unless_it_says_otherwise() {
        assert_eq!(Board::find("rk3588").unwrap().int8, Int8::default());
        let host = embedded("host").unwrap();
        let text = host.replace("[int8]\n", "[int8]\nconcat = \"shared\"\n");
        let int8 = Board::parse("host", &text).unwrap().int8;
        let expected = Int8 { concat: Scales::Shared, outputs: Outputs::Real, ..Int8::default() };
        assert_eq!(int8, expected);
        assert!(Board::parse("host", &text.replace("shared", "mine")).is_err());
    }

    /// The error of a board whose file has `from` replaced by `to`.
    fn error_of(name: &str, from: &str, to: &str) -> String {
        let text = embedded(name).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        Board::parse(name, &text.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_key_names_its_line_and_the_right_one() {
        let error = error_of("rk3588", "cores = 3", "core = 3");
        let line = 1 + embedded("rk3588").unwrap().lines().position(|line| line == "cores = 3").unwrap();
        assert!(
            error.starts_with(&format!("boards/rk3588/board.toml:{line}: unknown key `core`")),
            "{error}"
        );
        assert!(error.contains("did you mean `cores`?"), "{error}");
    }

    #[test]
    fn a_wrong_unit_or_value_is_named() {
        let error = error_of("rk3588", "frequency_mhz = 1800", "frequency_khz = 1800000");
        assert!(error.contains("did you mean `frequency_mhz`?"), "{error}");
        let error = error_of("rk3588", "frequency_mhz = 1800", "frequency_mhz = 1800000");
        assert!(error.contains("clocks.cpu0.frequency_mhz = 1800000") && error.contains("kHz"), "{error}");
        let error = error_of("rk3588", "domain = \"npu\"", "domain = \"nup\"");
        assert!(error.contains("did you mean `npu`?"), "{error}");
        let error = error_of("rk3588", "cores = 3", "cores = \"three\"");
        assert!(error.contains("invalid type") && error.contains("board.toml:"), "{error}");
    }

    #[test]
    fn a_wrong_path_is_named_with_what_was_meant() {
        let error = error_of("rk3588", "/sys/class/devfreq/fdab0000.npu", "/sys/class/devfrq/fdab0000.npu");
        assert!(error.contains("/sys/class/devfreq/") && error.contains("board.toml:"), "{error}");
    }

    #[test]
    fn a_sector_beyond_every_card_is_named_with_its_line() {
        let error = error_of("qemu-virt", "boot_sector = 2048", "boot_sector = 9223372036854775807");
        let line =
            embedded("qemu-virt").unwrap().lines().position(|line| line == "boot_sector = 2048").unwrap();
        let start = format!("boards/qemu-virt/board.toml:{}: boot_sector = 9223372036854775807", line + 1);
        assert!(error.starts_with(&start) && error.contains("to 8388607"), "{error}");
    }

    #[test]
    fn a_fault_in_a_base_is_named_there() {
        let error = Board::parse("x", "inherit = \"rockchip-linx\"\n").unwrap_err().to_string();
        assert!(error.starts_with("boards/x/board.toml:1: ") && error.contains("did you mean"), "{error}");
    }

    #[test]
    fn a_board_is_told_by_the_names_of_its_device_tree() {
        let fits =
            |board: &str, names: &[&str]| Board::find(board).unwrap().fits_names(names.iter().copied());
        let rock = ["radxa,rock-5a", "rockchip,rk3588s"];
        let pi = ["raspberrypi,5-model-b", "brcm,bcm2712"];
        assert!(fits("rk3588", &rock) && fits("rpi5", &pi));
        assert!(!fits("rpi5", &rock) && !fits("rk3588", &pi) && !fits("rk3568", &rock));
        assert!(fits("rk3588", &[]) && fits("qemu-virt", &["linux,dummy-virt"]));
        // Whatever a package may be flashed to is told from the others.
        for name in names() {
            let board = Board::find(name).unwrap();
            assert_eq!(board.compatible.is_empty(), !board.flash.methods.contains(&Method::Ssh), "{name}");
            let Some(npu) = board.npu else { continue };
            assert_eq!(board.compatible, [format!("rockchip,{}", npu.chip)], "{name}");
        }
        let error = error_of("rk3588", "rockchip,rk3588", "rk3588");
        assert!(error.contains("compatible") && error.contains("vendor and chip"), "{error}");
    }

    /// A figure without a source is one that nobody can check.
    #[test]
    fn facts_of_the_hardware_say_where_they_are_from() {
        let is_comment = |line: &str| line.starts_with('#');
        for (name, text) in BOARDS.iter().chain(BASES) {
            let lines: Vec<_> = text.lines().collect();
            for (above, line) in lines.iter().zip(&lines[1..]) {
                let key = line.split(' ').next().unwrap();
                if ["vendor_id", "product_id", "boot_mib", "load_file"].contains(&key) {
                    assert!(is_comment(above), "{name}: {line}");
                }
                assert!(key != "product_id" || above.contains("xrock"), "{name}: {above}");
            }
            for block in text.split("\n\n").filter(|block| block.contains("formats = ")) {
                assert!(block.lines().any(is_comment), "{name}: {block}");
            }
        }
    }

    #[test]
    fn every_chip_has_its_number_on_usb_and_its_load_file() {
        let mut numbers = Vec::new();
        for name in names() {
            let Board { npu, flash, .. } = Board::find(name).unwrap();
            numbers.extend(flash.usb.map(|usb| (name, usb.vendor_id, usb.product_id)));
            assert!(npu.is_none_or(|npu| npu.load_file.is_some()), "{name}");
        }
        let expected = [
            ("rk3562", 0x350d),
            ("rk3566", 0x350a),
            ("rk3568", 0x350a),
            ("rk3576", 0x350e),
            ("rk3588", 0x350b),
        ];
        assert_eq!(numbers, expected.map(|(name, product)| (name, 0x2207, product)));
    }

    #[test]
    fn an_npu_needs_the_runtime_of_the_toolkit_that_compiles_for_it() {
        let pins = include_str!("../../toolchains/rknn-requirements.txt");
        let pinned = pins.lines().find_map(|line| line.strip_prefix("rknn-toolkit2==")).unwrap();
        let pinned: Version = pinned.split(' ').next().unwrap().parse().unwrap();
        for name in names() {
            let Some(npu) = Board::find(name).unwrap().npu else { continue };
            assert_eq!(npu.minimum_runtime, pinned, "{name}");
        }
    }
}
