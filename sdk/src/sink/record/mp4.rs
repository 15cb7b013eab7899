//! Fragmented MP4 (ISO/IEC 14496-12) with Motion JPEG: a head, then a fragment a picture, so that a file that ends anywhere plays
//! up to there. Only what is needed for one track of JPEG (object type 0x6C of ISO/IEC 14496-1).

use std::sync::Arc;
use std::time::Duration;

use crate::sink::pictures::Jpeg;

/// Units of time in a second.
const TIMESCALE: u32 = 1000;
/// Bytes of a fragment beside the picture.
const FRAGMENT_HEAD: usize = 108;
/// How long the only picture of a file is shown.
const ALONE: u32 = TIMESCALE / 25;
/// No transformation: a matrix of 16.16 and 2.30 numbers.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// Flags of a sample that can be shown by itself.
const SYNC_SAMPLE: u32 = 0x0200_0000;

/// What is known between two pictures. A picture is written when the next says how long it is shown.
pub(super) struct Mp4 {
    waiting: Option<Arc<Jpeg>>,
    sequence: u32,
    /// When the picture that waits is shown, in units.
    time: u64,
    last_duration: u32,
}

impl Mp4 {
    /// Writes the head of a file for pictures as large as `first`.
    pub(super) fn begin(first: &Jpeg, out: &mut Vec<u8>) -> Self {
        let sides = first.size_px.map(|px| u16::try_from(px).unwrap_or(u16::MAX));
        atom(out, b"ftyp", |out| out.extend_from_slice(b"isom\0\0\x02\0isomiso6mp41"));
        movie(out, sides);
        Self { waiting: None, sequence: 0, time: 0, last_duration: ALONE }
    }

    /// Adds a picture, which writes the one before.
    pub(super) fn add(&mut self, picture: &Arc<Jpeg>, out: &mut Vec<u8>) {
        if let Some(waiting) = self.waiting.replace(Arc::clone(picture)) {
            let duration = units(picture.at.saturating_duration_since(waiting.at));
            self.last_duration = duration;
            self.fragment(&waiting.bytes, duration, out);
        }
    }

    /// Writes the last picture, shown as long as the one before.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(waiting) = self.waiting.take() {
            self.fragment(&waiting.bytes, self.last_duration, out);
        }
    }

    /// Bytes that will be written without another picture.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.as_deref().map_or(0, Self::picture_bytes)
    }

    /// Bytes that a picture takes.
    pub(super) fn picture_bytes(picture: &Jpeg) -> usize {
        FRAGMENT_HEAD + picture.bytes.len()
    }

    fn fragment(&mut self, bytes: &[u8], duration: u32, out: &mut Vec<u8>) {
        let start = out.len();
        self.sequence = self.sequence.wrapping_add(1);
        atom(out, b"moof", |out| {
            full_atom(out, b"mfhd", 0, 0, |out| put32(out, &[self.sequence]));
            atom(out, b"traf", |out| {
                // The track, and that places count from the beginning of the fragment.
                full_atom(out, b"tfhd", 0, 0x02_0000, |out| put32(out, &[1]));
                full_atom(out, b"tfdt", 1, 0, |out| out.extend_from_slice(&self.time.to_be_bytes()));
                // One sample: where it is, its duration, size and flags.
                let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let place = u32::try_from(FRAGMENT_HEAD).unwrap_or(u32::MAX);
                full_atom(out, b"trun", 0, 0x0701, |out| {
                    put32(out, &[1, place, duration, size, SYNC_SAMPLE])
                });
            });
        });
        debug_assert_eq!(out.len() - start + 8, FRAGMENT_HEAD, "the place of the sample");
        atom(out, b"mdat", |out| out.extend_from_slice(bytes));
        self.time += u64::from(duration);
    }
}

/// At least one unit: no two pictures are shown at the same time.
fn units(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn movie(out: &mut Vec<u8>, sides: [u16; 2]) {
    atom(out, b"moov", |out| {
        full_atom(out, b"mvhd", 0, 0, |out| {
            // No times, units, no length yet, speed 1, volume 1 and what is reserved.
            put32(out, &[0, 0, TIMESCALE, 0, 0x1_0000, 0x0100_0000, 0, 0]);
            put32(out, &MATRIX);
            // Reserved, and the next track's number.
            put32(out, &[0, 0, 0, 0, 0, 0, 2]);
        });
        atom(out, b"trak", |out| track(out, sides));
        atom(out, b"mvex", |out| {
            // Track, its only description, and no defaults.
            full_atom(out, b"trex", 0, 0, |out| put32(out, &[1, 1, 0, 0, 0]));
        });
    });
}

fn track(out: &mut Vec<u8>, sides: [u16; 2]) {
    // Enabled, in the movie.
    full_atom(out, b"tkhd", 0, 3, |out| {
        put32(out, &[0, 0, 1, 0, 0, 0, 0, 0, 0]);
        put32(out, &MATRIX);
        put32(out, &sides.map(|side| u32::from(side) << 16));
    });
    atom(out, b"mdia", |out| {
        // Language: undetermined.
        full_atom(out, b"mdhd", 0, 0, |out| put32(out, &[0, 0, TIMESCALE, 0, 0x55c4_0000]));
        full_atom(out, b"hdlr", 0, 0, |out| {
            out.extend_from_slice(b"\0\0\0\0vide\0\0\0\0\0\0\0\0\0\0\0\0RepEdge\0")
        });
        atom(out, b"minf", |out| {
            full_atom(out, b"vmhd", 0, 1, |out| put32(out, &[0, 0]));
            atom(out, b"dinf", |out| {
                full_atom(out, b"dref", 0, 0, |out| {
                    put32(out, &[1]);
                    // In this file.
                    full_atom(out, b"url ", 0, 1, |_| {});
                });
            });
            atom(out, b"stbl", |out| table(out, sides));
        });
    });
}

/// Which samples there are: none but those in fragments.
fn table(out: &mut Vec<u8>, sides: [u16; 2]) {
    full_atom(out, b"stsd", 0, 0, |out| {
        put32(out, &[1]);
        atom(out, b"mp4v", |out| {
            // Reserved, the data reference, and what is reserved again.
            put32(out, &[0, 1, 0, 0, 0, 0]);
            out.extend(sides.iter().flat_map(|side| side.to_be_bytes()));
            // 72 dots an inch, one picture a sample, no name, 24 bits deep.
            put32(out, &[0x48_0000, 0x48_0000, 0]);
            out.extend_from_slice(&[0, 1]);
            out.extend_from_slice(&[0; 32]);
            out.extend_from_slice(&[0, 24, 0xff, 0xff]);
            full_atom(out, b"esds", 0, 0, |out| out.extend_from_slice(&DESCRIPTORS));
        });
    });
    full_atom(out, b"stts", 0, 0, |out| put32(out, &[0]));
    full_atom(out, b"stsc", 0, 0, |out| put32(out, &[0]));
    full_atom(out, b"stsz", 0, 0, |out| put32(out, &[0, 0]));
    full_atom(out, b"stco", 0, 0, |out| put32(out, &[0]));
}

/// Elementary stream (tag 3) with a decoder's configuration (4: JPEG, visual stream) and a sync layer's (6: as in MP4 files).
const DESCRIPTORS: [u8; 23] = [3, 21, 0, 1, 0, 4, 13, 0x6c, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 1, 2];

fn atom(out: &mut Vec<u8>, kind: &[u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    fill(out);
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn full_atom(out: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    atom(out, kind, |out| {
        put32(out, &[u32::from(version) << 24 | flags]);
        fill(out);
    });
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_be_bytes()));
}
