//! Kinds of cameras that a device has, the preferred one first: which of several is taken, and in which formats. Pure: it asks no
//! driver.

use super::{Formats, Found, Pixels, Wish};

/// A kind of camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// How the name of its driver begins, such as `rkisp`.
    pub driver: String,
    /// The formats that are taken of it where a wish leaves that open, the preferred one first; others come after.
    pub formats: Vec<Pixels>,
}

/// Cameras of the kinds first, in the kinds' order; all others, and those of one kind, stay in theirs.
pub(super) fn in_order(mut found: Vec<Found>, kinds: &[Kind]) -> Vec<Found> {
    found.sort_by_key(|camera| position(&camera.driver, kinds).unwrap_or(kinds.len()));
    found
}

/// What is wanted of a camera of this driver.
pub(super) fn wish_of(driver: &str, wish: &Wish, kinds: &[Kind]) -> Wish {
    match position(driver, kinds) {
        Some(kind) if wish.formats.is_any() => {
            Wish { formats: Formats::first(&kinds[kind].formats), ..*wish }
        }
        _ => *wish,
    }
}

fn position(driver: &str, kinds: &[Kind]) -> Option<usize> {
    kinds.iter().position(|kind| driver.starts_with(&kind.driver))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> [Kind; 2] {
        let kind =
            |driver: &str, formats: &[Pixels]| Kind { driver: driver.into(), formats: formats.to_vec() };
        [kind("uvcvideo", &[Pixels::Yuyv, Pixels::Jpeg]), kind("rkisp", &[Pixels::Nv12])]
    }

    #[test]
    fn cameras_of_the_board_come_before_others() {
        let found = |number: u32, driver: &str| Found {
            path: format!("/dev/video{number}").into(),
            card: "card".into(),
            bus: "bus".into(),
            driver: driver.into(),
        };
        // As they are numbered on a board of Rockchip's: what takes in the raw sensor first.
        let there = [
            found(0, "rkcif"),
            found(4, "rk_hdmirx"),
            found(11, "rkisp_v6"),
            found(12, "rkisp_v6"),
            found(20, "uvcvideo"),
        ];
        let order = |kinds: &[Kind]| {
            let sorted = in_order(there.to_vec(), kinds);
            sorted.iter().map(|camera| camera.path.display().to_string()).collect::<Vec<_>>()
        };
        let numbered = |numbers: [u32; 5]| numbers.map(|number| format!("/dev/video{number}"));
        assert_eq!(order(&kinds()), numbered([20, 11, 12, 0, 4]));
        assert_eq!(order(&kinds()[1..]), numbered([11, 12, 0, 4, 20]));
        assert_eq!(order(&[]), numbered([0, 4, 11, 12, 20]));
    }

    #[test]
    fn a_wish_for_formats_counts_before_the_kinds() {
        let open = Wish::default();
        let of = |driver, wish| wish_of(driver, &wish, &kinds()).formats;
        assert_eq!(of("uvcvideo", open), Formats::first(&[Pixels::Yuyv, Pixels::Jpeg]));
        assert_eq!(of("rkisp_v5", open), Formats::first(&[Pixels::Nv12]));
        assert!(of("vivid", open).is_any());
        let jpeg = Formats::only(&[Pixels::Jpeg]);
        assert_eq!(of("uvcvideo", Wish { formats: jpeg, ..open }), jpeg);
    }
}
