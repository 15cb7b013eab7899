//! YUV4MPEG2 files (`.y4m`): a line of parameters, then frames of planes of Y, U and V. Only 4:2:0 with 8 bits, which is what
//! tools write unless told otherwise.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Arrival, Format, Rewound, Shot, Source, unreadable, unusable};
use crate::Error;
use crate::frame::{Range, YuvColor};

/// Longest line of parameters that is read.
const MAX_LINE: u64 = 1024;
/// Longest side of a frame.
const MAX_SIDE_PX: usize = 1 << 14;

/// What the first line of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    width_px: usize,
    height_px: usize,
    color: YuvColor,
}

/// A file of video.
#[derive(Debug)]
pub struct Y4mFile {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    /// Where the first frame begins.
    start: u64,
    next: u64,
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
        let start = read as u64;
        Ok(Self { path: path.into(), file, header, start, next: 0, line, chroma: Vec::new() })
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
        let Header { width_px, height_px, color } = self.header;
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
        let (mut sides, mut color) = ([None; 2], YuvColor::default());
        for parameter in parameters.split_ascii_whitespace() {
            let Some((kind, value)) = parameter.split_at_checked(1) else { continue };
            match kind {
                "W" => sides[0] = Some(side(value)?),
                "H" => sides[1] = Some(side(value)?),
                "C" if !["420", "420jpeg", "420mpeg2", "420paldv"].contains(&value) => {
                    return Err(format!("color as {value:?}"));
                }
                "X" if value == "COLORRANGE=FULL" => color.range = Range::Full,
                // Frame rate, interlacing, aspect and comments say nothing about where the samples are.
                _ => {}
            }
        }
        let [Some(width_px), Some(height_px)] = sides else { return Err("no width or no height".into()) };
        Ok(Self { width_px, height_px, color })
    }
}

fn side(text: &str) -> Result<usize, String> {
    let side =
        text.parse().ok().filter(|side: &usize| *side > 0 && *side <= MAX_SIDE_PX && side.is_multiple_of(2));
    side.ok_or_else(|| format!("a side of {text:?} pixels"))
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
        assert_eq!(found, Ok(Header { width_px: 640, height_px: 480, color }));
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

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Header::parse(&line);
            let _ = Header::parse(&[&b"YUV4MPEG2 "[..], &line, b"\n"].concat());
        }
    }
}
