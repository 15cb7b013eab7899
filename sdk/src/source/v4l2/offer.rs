//! What a camera offers, and what of it is taken. Pure: it asks no driver.

use std::fmt;

use artifact::Fault;

/// Four letters by which V4L2 names how pixels lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) [u8; 4]);

/// The codes that we read, best first. What costs least before the NPU comes first: NV12 is read as it is by the resizer, YUYV
/// is a third larger, and JPEG must be decoded. Names and meaning: the kernel's V4L2 documentation, "Image Formats"
/// (NV12 and NM12 in "YUV planar formats", YUYV in "Packed YUV formats", MJPG and JPEG in "Compressed Formats").
const READABLE: [(Code, Pixels); 5] = [
    (Code::NV12, Pixels::Nv12),
    (Code::NM12, Pixels::Nv12Planes),
    (Code::YUYV, Pixels::Yuyv),
    (Code::MJPG, Pixels::Jpeg),
    (Code::JPEG, Pixels::Jpeg),
];

/// How a camera's pixels come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// Y, and U with V in turn at half the size: 12 bits a pixel.
    Nv12,
    /// The same, with Y in one piece of memory and U and V in another, as some ISPs give it.
    Nv12Planes,
    /// Y, U, Y, V: 16 bits a pixel.
    Yuyv,
    /// JPEG images. They are decoded to RGB on the CPU.
    Jpeg,
}

/// How pixels may come, the preferred way first; any way, the cheapest first, where nothing is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats([Option<Pixels>; 4]);

impl Formats {
    /// These and no others. What is named again counts where it was named first.
    pub fn only(wanted: &[Pixels]) -> Self {
        let mut formats = Self::default();
        wanted.iter().for_each(|pixels| formats.add(*pixels));
        formats
    }

    /// All, these before the others.
    pub fn first(wanted: &[Pixels]) -> Self {
        let mut formats = Self::only(wanted);
        READABLE.iter().for_each(|(_, pixels)| formats.add(*pixels));
        formats
    }

    /// Whether nothing is named.
    pub fn is_any(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, pixels: Pixels) {
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none_or(|other| other == pixels)) {
            *free = Some(pixels);
        }
    }

    /// How much is preferred to these; none where they are not wanted.
    fn place(self, pixels: Pixels) -> Option<usize> {
        if self.is_any() { Some(0) } else { self.0.iter().position(|wanted| *wanted == Some(pixels)) }
    }
}

/// What is wanted of a camera. It gives what comes nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Pixels in a row.
    pub width_px: u32,
    /// Rows.
    pub height_px: u32,
    /// Frames a second.
    pub fps: u32,
    /// How they come. Of what has the same size and speed, what is preferred is taken.
    pub formats: Formats,
}

impl Default for Wish {
    /// 640×480 at 30 frames a second, which nearly every camera has.
    fn default() -> Self {
        Self { width_px: 640, height_px: 480, fps: 30, formats: Formats::default() }
    }
}

/// One of a camera's formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) code: Code,
    pub(super) sizes: Sizes,
}

/// The sizes of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sizes {
    /// The driver does not say.
    Unsaid,
    /// These.
    Listed(Vec<Size>),
    /// Every `step` from `least` to `most`, as width and height.
    Range { least: [u32; 2], most: [u32; 2], step: [u32; 2] },
}

/// A size, as width and height, and the most frames a second it comes at, where the driver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) sides_px: [u32; 2],
    pub(super) most_fps: Option<u32>,
}

/// What the driver is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) code: Code,
    pub(super) sides_px: [u32; 2],
}

impl Code {
    pub(super) const NV12: Self = Self(*b"NV12");
    pub(super) const NM12: Self = Self(*b"NM12");
    pub(super) const YUYV: Self = Self(*b"YUYV");
    pub(super) const MJPG: Self = Self(*b"MJPG");
    pub(super) const JPEG: Self = Self(*b"JPEG");

    /// Its place among the codes that we read, and how its pixels come.
    fn rank(self) -> Option<(usize, Pixels)> {
        READABLE.iter().position(|(code, _)| *code == self).map(|rank| (rank, READABLE[rank].1))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Takes the size nearest to the wished one, at the wished speed if it can be had, in the preferred format that has it, or the
/// best where none is.
///
/// # Errors
/// When the camera offers nothing that we read; lists what it offers.
pub(super) fn choose(offers: &[Offer], wish: &Wish) -> Result<Choice, Fault> {
    let candidates = offers.iter().filter_map(|offer| {
        let (rank, pixels) = offer.code.rank()?;
        let place = wish.formats.place(pixels)?;
        let size = offer.sizes.nearest(wish, pixels)?;
        let slower_by = size.most_fps.map_or(0, |most| wish.fps.saturating_sub(most));
        let key = (distance(size.sides_px, wish), slower_by, place, rank);
        Some((key, Choice { code: offer.code, sides_px: size.sides_px }))
    });
    candidates.min_by_key(|(key, _)| *key).map(|(_, choice)| choice).ok_or_else(|| refusal(offers, wish))
}

/// Whether there is anything that we read. Raw sensors, and sockets without one, are no cameras to us.
pub(super) fn is_readable(offers: &[Offer]) -> bool {
    choose(offers, &Wish::default()).is_ok()
}

fn refusal(offers: &[Offer], wish: &Wish) -> Fault {
    let names: Vec<_> = offers.iter().map(|offer| offer.code.to_string()).collect();
    let wanted = READABLE.iter().filter(|(_, pixels)| wish.formats.place(*pixels).is_some());
    let wanted: Vec<_> = wanted.map(|(code, _)| code.to_string()).collect();
    let found = if names.is_empty() { "nothing".into() } else { names.join(", ") };
    Fault::new(
        format!("a camera that offers {found}"),
        format!("one of {} with even sides", wanted.join(", ")),
        "use another of its nodes (`v4l2-ctl --list-devices` shows them), its ISP's output instead of the raw sensor, or another camera",
    )
}

fn distance([width, height]: [u32; 2], wish: &Wish) -> u64 {
    u64::from(width.abs_diff(wish.width_px)) + u64::from(height.abs_diff(wish.height_px))
}

impl Sizes {
    fn nearest(&self, wish: &Wish, pixels: Pixels) -> Option<Size> {
        let wished = [wish.width_px, wish.height_px];
        match self {
            Self::Unsaid => Some(Size { sides_px: wished, most_fps: None }),
            Self::Listed(sizes) => {
                let usable = sizes.iter().filter(|size| is_usable(size.sides_px, pixels));
                usable.copied().min_by_key(|size| {
                    let slower_by = size.most_fps.map_or(0, |most| wish.fps.saturating_sub(most));
                    (distance(size.sides_px, wish), slower_by)
                })
            }
            Self::Range { least, most, step } => {
                let side = |at: usize| {
                    let within = wished[at].clamp(least[at], most[at].max(least[at]));
                    least[at] + (within - least[at]) / step[at].max(1) * step[at].max(1)
                };
                let sides_px = [side(0), side(1)];
                is_usable(sides_px, pixels).then_some(Size { sides_px, most_fps: None })
            }
        }
    }
}

/// Colors that pixels share need even sides.
fn is_usable(sides_px: [u32; 2], pixels: Pixels) -> bool {
    sides_px.iter().all(|side| *side > 0 && (pixels == Pixels::Jpeg || side.is_multiple_of(2)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(code: Code, sizes: &[([u32; 2], u32)]) -> Offer {
        let size = |(sides_px, fps): &([u32; 2], u32)| Size { sides_px: *sides_px, most_fps: Some(*fps) };
        Offer { code, sizes: Sizes::Listed(sizes.iter().map(size).collect()) }
    }

    fn chosen(offers: &[Offer], wish: &Wish) -> (String, [u32; 2]) {
        let choice = choose(offers, wish).unwrap();
        (choice.code.to_string(), choice.sides_px)
    }

    #[test]
    fn at_the_wished_size_the_cheapest_format_wins() {
        let all = [Code::MJPG, Code::YUYV, Code(*b"NV16"), Code::NM12, Code::NV12];
        let mut offers = all.map(|code| listed(code, &[([640, 480], 30), ([1280, 720], 30)])).to_vec();
        let wish = Wish::default();
        for expected in ["NV12", "NM12", "YUYV", "MJPG"] {
            assert_eq!(chosen(&offers, &wish), (expected.into(), [640, 480]));
            offers.retain(|offer| offer.code.to_string() != expected);
        }
        let error = choose(&offers, &wish).unwrap_err().to_string();
        assert!(error.contains("offers NV16") && error.contains("NV12, NM12, YUYV"), "{error}");
        assert!(choose(&[], &wish).unwrap_err().to_string().contains("offers nothing"));
    }

    #[test]
    fn size_counts_before_speed_and_speed_before_format() {
        // What UVC cameras offer: large images come fast as JPEG only.
        let offers = [
            listed(Code::YUYV, &[([640, 480], 30), ([1920, 1080], 5)]),
            listed(Code::MJPG, &[([640, 480], 30), ([1280, 720], 60), ([1920, 1080], 30)]),
        ];
        let wish = |width_px, height_px, fps| Wish { width_px, height_px, fps, ..Wish::default() };
        assert_eq!(chosen(&offers, &wish(640, 480, 30)), ("YUYV".into(), [640, 480]));
        assert_eq!(chosen(&offers, &wish(1920, 1080, 30)), ("MJPG".into(), [1920, 1080]));
        assert_eq!(chosen(&offers, &wish(1920, 1080, 5)), ("YUYV".into(), [1920, 1080]));
        assert_eq!(chosen(&offers, &wish(1300, 700, 30)), ("MJPG".into(), [1280, 720]));
        let yuyv = Wish { formats: Formats::only(&[Pixels::Yuyv]), ..wish(1280, 720, 30) };
        assert_eq!(chosen(&offers, &yuyv).0, "YUYV");
        let nv12 = Wish { formats: Formats::only(&[Pixels::Nv12]), ..yuyv };
        assert!(choose(&offers, &nv12).unwrap_err().to_string().contains("one of NV12 with"));
    }

    #[test]
    fn at_one_size_and_speed_what_is_preferred_wins_and_nothing_else_is_taken() {
        let all = [Code::NM12, Code::NV12, Code::YUYV, Code::MJPG];
        let mut offers = all.map(|code| listed(code, &[([640, 480], 30)])).to_vec();
        let (nv12, planes, yuyv, jpeg) = (Pixels::Nv12, Pixels::Nv12Planes, Pixels::Yuyv, Pixels::Jpeg);
        let wish = |wanted: &[Pixels]| Wish { formats: Formats::only(wanted), ..Wish::default() };
        assert_eq!(chosen(&offers, &wish(&[yuyv, nv12])).0, "YUYV");
        assert_eq!(chosen(&offers, &wish(&[jpeg, yuyv])).0, "MJPG");
        assert_eq!(chosen(&offers, &wish(&[planes, nv12])).0, "NM12");
        assert_eq!(chosen(&offers, &wish(&[])).0, "NV12");
        offers.truncate(2);
        assert_eq!(chosen(&offers, &wish(&[yuyv, nv12])).0, "NV12");
        let error = choose(&offers, &wish(&[yuyv, jpeg])).unwrap_err().to_string();
        assert!(error.contains("one of YUYV, MJPG, JPEG with"), "{error}");
        // A larger image in a format that is preferred less is nearer than a smaller one.
        offers.push(listed(Code::YUYV, &[([320, 240], 30)]));
        assert_eq!(chosen(&offers, &wish(&[yuyv, nv12])), ("NV12".into(), [640, 480]));
    }

    #[test]
    fn preferences_name_each_format_once() {
        let (nv12, planes, yuyv, jpeg) = (Pixels::Nv12, Pixels::Nv12Planes, Pixels::Yuyv, Pixels::Jpeg);
        assert_eq!(Formats::only(&[yuyv, yuyv, nv12, yuyv]), Formats([Some(yuyv), Some(nv12), None, None]));
        assert_eq!(Formats::first(&[jpeg]), Formats([jpeg, nv12, planes, yuyv].map(Some)));
        assert!(Formats::only(&[]).is_any() && !Formats::first(&[]).is_any());
    }

    #[test]
    fn nodes_of_raw_sensors_and_empty_sockets_are_no_cameras() {
        let raw = listed(Code(*b"BG10"), &[([1920, 1080], 30)]);
        assert!(!is_readable(&[]) && !is_readable(std::slice::from_ref(&raw)));
        let odd = listed(Code::NV12, &[([641, 481], 30)]);
        assert!(!is_readable(std::slice::from_ref(&odd)));
        assert!(is_readable(&[raw, odd, listed(Code::YUYV, &[([640, 480], 30)])]));
    }

    #[test]
    fn ranges_are_kept_and_odd_sides_refused() {
        let range =
            |least, most, step| [Offer { code: Code::NV12, sizes: Sizes::Range { least, most, step } }];
        let wish = |width_px, height_px| Wish { width_px, height_px, ..Wish::default() };
        let isp = range([32, 16], [4416, 3312], [8, 8]);
        assert_eq!(chosen(&isp, &wish(645, 487)).1, [640, 480]);
        assert_eq!(chosen(&isp, &wish(1, 1)).1, [32, 16]);
        assert_eq!(chosen(&isp, &wish(9000, 9000)).1, [4416, 3312]);
        assert!(choose(&range([1, 1], [99, 99], [1, 1]), &wish(33, 32)).is_err());
        assert!(choose(&range([0, 0], [0, 0], [0, 0]), &wish(32, 32)).is_err());
        let unsaid = [Offer { code: Code::YUYV, sizes: Sizes::Unsaid }];
        assert_eq!(chosen(&unsaid, &wish(320, 240)).1, [320, 240]);
    }

    fn sides() -> impl Strategy<Value = [u32; 2]> {
        prop_oneof![prop::array::uniform2(0u32..3000), prop::array::uniform2(any::<u32>())]
    }

    fn offer() -> impl Strategy<Value = Offer> {
        let code = prop::sample::select(vec![Code::NV12, Code::NM12, Code::YUYV, Code::MJPG, Code(*b"RGGB")]);
        let size = (sides(), prop::option::of(any::<u32>()));
        let size = size.prop_map(|(sides_px, most_fps)| Size { sides_px, most_fps });
        let sizes = prop_oneof![
            Just(Sizes::Unsaid),
            prop::collection::vec(size, 0..5).prop_map(Sizes::Listed),
            (sides(), sides(), sides()).prop_map(|(least, most, step)| Sizes::Range { least, most, step }),
        ];
        (code, sizes).prop_map(|(code, sizes)| Offer { code, sizes })
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_offered_and_nothing_listed_is_nearer(
            offers in prop::collection::vec(offer(), 0..6), wished in sides(), fps in 1u32..120,
        ) {
            let wish = Wish { width_px: wished[0], height_px: wished[1], fps, ..Wish::default() };
            let Ok(choice) = choose(&offers, &wish) else { return Ok(()) };
            let offer = |code| offers.iter().filter(move |offer: &&Offer| offer.code == code);
            let is_offered = offer(choice.code).any(|offer| match &offer.sizes {
                Sizes::Unsaid => choice.sides_px == wished,
                Sizes::Listed(sizes) => sizes.iter().any(|size| size.sides_px == choice.sides_px),
                Sizes::Range { least, most, .. } => (0..2).all(|at| {
                    (least[at]..=most[at].max(least[at])).contains(&choice.sides_px[at])
                }),
            });
            prop_assert!(is_offered);
            for (code, pixels) in READABLE {
                for offer in offer(code) {
                    let Sizes::Listed(sizes) = &offer.sizes else { continue };
                    for size in sizes.iter().filter(|size| is_usable(size.sides_px, pixels)) {
                        prop_assert!(distance(choice.sides_px, &wish) <= distance(size.sides_px, &wish));
                    }
                }
            }
        }
    }
}
