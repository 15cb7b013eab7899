//! YUV4MPEG2 files (`.y4m`): a line of parameters, then frames of planes of Y, U and V. Only 4:2:0 with 8 bits, which is what
//! tools write unless told otherwise.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reel::{Reel, USUAL_INTERVAL};
use super::{Arrival, Format, Rewound, Shot, Source, unreadable, unusable};
use crate::Error;
use crate::frame::{Range, YuvColor};

/// Longest line of parameters that is read.
const MAX_LINE: u64 = 1024;
/// Longest side of a frame.
const MAX_SIDE_PX: usize = 1 << 14;
/// Times between frames that are believed: 1000 frames a second to one a minute.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// What the first line of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    width_px: usize,
    height_px: usize,
    color: YuvColor,
    /// From one frame to the next.
    interval: Duration,
}

/// A file of video. One that does not say its frame rate, or none that can be, counts as 30 frames a second.
#[derive(Debug)]
pub struct Y4mFile {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    /// Where the first frame begins.
    start: u64,
    next: u64,
    reel: Reel,
    /// The line in front of a frame; used again and again.
    line: Vec<u8>,
    /// U and V of a frame, before they are laid side by side.
    chroma: Vec<u8>,
}

impl Y4mFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot be read or holds another form of video.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = BufReader::new(File::open(path).map_err(|e| unreadable(path, &e))?);
        let mut line = Vec::new();
        let read =
            file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(|e| unreadable(path, &e))?;
        let header = Header::parse(&line).map_err(|found| {
            unusable(
                path,
                &found,
                "YUV4MPEG2 with 4:2:0 of 8 bits and even sides",
                "convert it, for example with `ffmpeg -i VIDEO -pix_fmt yuv420p -strict 0 OUT.y4m`",
            )
        })?;
        let (start, reel) = (read as u64, Reel::new(header.interval));
        Ok(Self { path: path.into(), file, header, start, next: 0, reel, line, chroma: Vec::new() })
    }

    /// Passes over the line in front of a frame; says whether there is one.
    fn begin_frame(&mut self) -> Result<Begun, Error> {
        self.line.clear();
        let read = self.file.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line);
        read.map_err(|e| unreadable(&self.path, &e))?;
        Ok(match self.line.strip_prefix(b"FRAME") {
            _ if self.line.is_empty() => Begun::End,
            Some([b'\n' | b' ', ..]) if self.line.ends_with(b"\n") => Begun::Frame,
            _ => Begun::Lost,
        })
    }

    fn read_frame(&mut self, shot: &mut Shot) -> std::io::Result<()> {
        let Header { width_px, height_px, color, .. } = self.header;
        let pixels = width_px * height_px;
        let bytes = shot.make_room((width_px, height_px), Format::Nv12(color), pixels * 3 / 2);
        let (luma, chroma) = bytes.split_at_mut(pixels);
        self.file.read_exact(luma)?;
        self.chroma.resize(pixels / 2, 0);
        self.file.read_exact(&mut self.chroma)?;
        let (u, v) = self.chroma.split_at(pixels / 4);
        for ((pair, u), v) in chroma.as_chunks_mut::<2>().0.iter_mut().zip(u).zip(v) {
            *pair = [*u, *v];
        }
        Ok(())
    }
}

/// What stands where a frame should begin.
enum Begun {
    Frame,
    End,
    Lost,
}

impl Source for Y4mFile {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        match self.begin_frame()? {
            Begun::End => return Ok(Arrival::Ended),
            Begun::Frame => {}
            Begun::Lost => {
                // Frames have no mark that could be looked for: what follows is lost too.
                self.file.seek(SeekFrom::End(0)).map_err(|e| unreadable(&self.path, &e))?;
                return Ok(Arrival::Broken(format!("no frame begins where frame {} should", self.next)));
            }
        }
        shot.number = self.next;
        shot.filmed_at = Some(self.reel.advance());
        shot.name.clear();
        self.next += 1;
        match self.read_frame(shot) {
            Ok(()) => Ok(Arrival::Frame),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Ok(Arrival::Broken(format!("the file ends within frame {}", shot.number)))
            }
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.file.seek(SeekFrom::Start(self.start)).map_err(|e| unreadable(&self.path, &e))?;
        self.next = 0;
        Ok(Rewound::Yes)
    }

    fn describe(&self) -> String {
        let Header { width_px, height_px, .. } = self.header;
        format!("{}, {width_px}x{height_px} pixels", self.path.display())
    }
}

impl Header {
    /// Reads the first line; the error is what was found instead.
    fn parse(line: &[u8]) -> Result<Self, String> {
        let text = line.strip_suffix(b"\n").ok_or("no line of parameters")?;
        let text = std::str::from_utf8(text).map_err(|_| "a first line that is no text")?;
        let parameters = text.strip_prefix("YUV4MPEG2").ok_or("a file that does not begin with YUV4MPEG2")?;
        let (mut sides, mut color, mut interval) = ([None; 2], YuvColor::default(), USUAL_INTERVAL);
        for parameter in parameters.split_ascii_whitespace() {
            let Some((kind, value)) = parameter.split_at_checked(1) else { continue };
            match kind {
                "W" => sides[0] = Some(side(value)?),
                "H" => sides[1] = Some(side(value)?),
                "C" if !["420", "420jpeg", "420mpeg2", "420paldv"].contains(&value) => {
                    return Err(format!("color as {value:?}"));
                }
                "X" if value == "COLORRANGE=FULL" => color.range = Range::Full,
                // The pictures are whole without it.
                "F" => interval = between_frames(value).unwrap_or(USUAL_INTERVAL),
                // Interlacing, aspect and comments say nothing about where the samples are.
                _ => {}
            }
        }
        let [Some(width_px), Some(height_px)] = sides else { return Err("no width or no height".into()) };
        Ok(Self { width_px, height_px, color, interval })
    }
}

fn side(text: &str) -> Result<usize, String> {
    let side =
        text.parse().ok().filter(|side: &usize| *side > 0 && *side <= MAX_SIDE_PX && side.is_multiple_of(2));
    side.ok_or_else(|| format!("a side of {text:?} pixels"))
}

/// Time from one frame to the next at a rate such as `30000:1001`, frames over seconds; none where it is unknown (`0:0`) or cannot be.
fn between_frames(rate: &str) -> Option<Duration> {
    let (frames, seconds) = rate.split_once(':')?;
    let (frames, seconds): (NonZeroU32, NonZeroU32) = (frames.parse().ok()?, seconds.parse().ok()?);
    let interval = Duration::from_secs(seconds.get().into()) / frames.get();
    Some(interval).filter(|interval| INTERVALS.contains(interval))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_found_in_any_order_and_others_are_passed_over() {
        let found = Header::parse(
            b"YUV4MPEG2 H480 W640 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL\n",
        );
        let color = YuvColor { range: Range::Full, ..YuvColor::default() };
        let interval = Duration::from_nanos(33_366_666);
        assert_eq!(found, Ok(Header { width_px: 640, height_px: 480, color, interval }));
        let plain = Header::parse(b"YUV4MPEG2 W2 H2\n").unwrap();
        assert_eq!((plain.width_px, plain.color), (2, YuvColor::default()));
    }

    #[test]
    fn other_forms_are_refused_by_what_they_say() {
        for (line, said) in [
            (&b"YUV4MPEG2 W4 H4 C444\n"[..], "444"),
            (b"YUV4MPEG2 W4 H4 C420p10\n", "420p10"),
            (b"YUV4MPEG2 W5 H4\n", "\"5\""),
            (b"YUV4MPEG2 W0 H4\n", "\"0\""),
            (b"YUV4MPEG2 W99999999999999999999 H4\n", "9999"),
            (b"YUV4MPEG2 W4\n", "no height"),
            (b"RIFF....\n", "does not begin"),
            (b"YUV4MPEG2 W4 H4", "no line"),
            (b"\xff\n", "no text"),
        ] {
            let found = Header::parse(line).unwrap_err();
            assert!(found.contains(said), "{found}");
        }
    }

    /// What a file with such a parameter has between frames.
    fn interval(parameter: &str) -> Duration {
        Header::parse(format!("YUV4MPEG2 W2 H2 {parameter}\n").as_bytes()).unwrap().interval
    }

    #[test]
    fn frames_are_as_far_apart_as_the_rate_says() {
        for (rate, ns) in [
            ("F25:1", 40_000_000),
            ("F30000:1001", 33_366_666),
            ("F50000000:1000000", 20_000_000),
            ("F1000:1", 1_000_000),
            ("F1:60", 60_000_000_000),
            ("F4294967295:4294967295", 1_000_000_000),
        ] {
            assert_eq!(interval(rate), Duration::from_nanos(ns), "{rate}");
        }
    }

    #[test]
    fn a_rate_that_is_unknown_or_cannot_be_counts_as_the_usual_one() {
        for rate in [
            "",
            "F",
            "F:",
            "F0:0",
            "F25:0",
            "F0:1",
            "F25",
            "F25:1:1",
            "F-25:1",
            "F29.97:1",
            "F1001:1",
            "F1:61",
            "F4294967295:1",
            "F1:4294967295",
            "F99999999999999999999:1",
        ] {
            assert_eq!(interval(rate), USUAL_INTERVAL, "{rate:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_rate_says_time_goes_on(rate in "[0-9:+.-]{0,24}") {
            let interval = interval(&format!("F{rate}"));
            prop_assert!(INTERVALS.contains(&interval), "{:?}", interval);
        }

        #[test]
        fn rates_that_can_be_are_kept(frames in 1_u32..=1000, seconds in 1_u32..=60) {
            let all = interval(&format!("F{frames}:{seconds}")) * frames;
            let lost = Duration::from_secs(seconds.into()) - all;
            prop_assert!(lost < Duration::from_nanos(frames.into()), "{:?}", lost);
        }

        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Header::parse(&line);
            let _ = Header::parse(&[&b"YUV4MPEG2 "[..], &line, b"\n"].concat());
        }
    }
}
