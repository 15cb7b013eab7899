//! `plain.c`, compiled when the benchmark starts and loaded into its process.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libloading::Library;
use repedge::preprocess::LetterboxMap;

/// A frame's place in the input, as `plain.c` lays it out.
#[repr(C)]
struct Letterbox {
    sizes: [i32; 7],
}

/// A box, as `plain.c` lays it out.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainBox {
    /// Left, top, right and bottom.
    pub edges: [f32; 4],
    pub score: f32,
    pub class: i32,
}

/// What `plain_decode` needs to know of the outputs.
#[derive(Clone, Copy)]
pub struct Heads<'a> {
    /// 255 planes for each of the strides 8, 16 and 32.
    pub stored: [&'a [i8]; 3],
    pub side_px: usize,
    pub classes: usize,
    pub scale: f32,
    pub zero_point: i32,
    /// Width and height of nine anchors.
    pub anchors: &'a [f32; 18],
    /// The lowest stored objectness that is made real.
    pub least_objectness: i8,
    pub confidence: f32,
    pub iou: f32,
}

type Nv12 = unsafe extern "C" fn(*const Letterbox, *const u8, *const u8, *mut u8);
type Yuyv = unsafe extern "C" fn(*const Letterbox, *const u8, *mut u8);
type Decode = unsafe extern "C" fn(
    *const *const i8,
    i32,
    i32,
    f32,
    i32,
    *const f32,
    i32,
    f32,
    f32,
    *mut PlainBox,
    *mut PlainBox,
    i32,
) -> i32;

/// The functions of `plain.c`.
pub struct Plain {
    nv12: Nv12,
    yuyv: Yuyv,
    decode: Decode,
    /// Last, because the functions lie in it.
    _library: Library,
}

impl Plain {
    /// Compiles it into `folder`.
    pub fn compile(folder: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/host-bench/plain.c");
        let object = folder.join("plain.so");
        let status = Command::new("cc")
            .args(["-O3", "-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .args([&object, &source])
            .arg("-lm")
            .status()
            .context("no C compiler: install build-essential")?;
        ensure!(status.success(), "plain.c does not compile");
        // SAFETY: the library was just made from plain.c, which runs nothing when loaded.
        let library = unsafe { Library::new(&object) }.context("plain.so cannot be loaded")?;
        // SAFETY: the types are those of plain.c's declarations, and the library lives as long as the pointers.
        let (nv12, yuyv, decode) = unsafe {
            (*library.get(b"plain_nv12\0")?, *library.get(b"plain_yuyv\0")?, *library.get(b"plain_decode\0")?)
        };
        Ok(Self { nv12, yuyv, decode, _library: library })
    }

    /// NV12 without padding into a square of RGB.
    pub fn nv12(&self, map: &LetterboxMap, side_px: usize, frame: &[u8], pixels: &mut [u8]) {
        let count = map.source_width_px * map.source_height_px;
        assert!(frame.len() == count * 3 / 2 && pixels.len() == side_px * side_px * 3, "sizes");
        let (luma, chroma) = frame.split_at(count);
        // SAFETY: both planes and the output have the sizes that were just checked, and plain.c stays within them.
        unsafe { (self.nv12)(&letterbox(map, side_px), luma.as_ptr(), chroma.as_ptr(), pixels.as_mut_ptr()) }
    }

    /// YUYV without padding into a square of RGB.
    pub fn yuyv(&self, map: &LetterboxMap, side_px: usize, frame: &[u8], pixels: &mut [u8]) {
        let count = map.source_width_px * map.source_height_px;
        assert!(frame.len() == count * 2 && pixels.len() == side_px * side_px * 3, "sizes");
        // SAFETY: the frame and the output have the sizes that were just checked, and plain.c stays within them.
        unsafe { (self.yuyv)(&letterbox(map, side_px), frame.as_ptr(), pixels.as_mut_ptr()) }
    }

    /// Boxes that decode and suppression leave in `kept`; `found` has room for one a cell and anchor.
    pub fn decode(&self, heads: &Heads<'_>, found: &mut [PlainBox], kept: &mut [PlainBox]) -> usize {
        let planes = 3 * (5 + heads.classes);
        for (stored, stride) in heads.stored.iter().zip([8, 16, 32]) {
            assert_eq!(stored.len(), planes * (heads.side_px / stride).pow(2), "a head of stride {stride}");
        }
        assert!(
            found.len() >= heads.stored.iter().map(|stored| stored.len() / (5 + heads.classes)).sum(),
            "room"
        );
        let pointers = heads.stored.map(<[i8]>::as_ptr);
        let size = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        // SAFETY: the heads have the sizes that were just checked, `found` holds a box for every cell and anchor, and `kept` as
        // many as is said.
        let left = unsafe {
            (self.decode)(
                pointers.as_ptr(),
                size(heads.side_px),
                size(heads.classes),
                heads.scale,
                heads.zero_point,
                heads.anchors.as_ptr(),
                heads.least_objectness.into(),
                heads.confidence,
                heads.iou,
                found.as_mut_ptr(),
                kept.as_mut_ptr(),
                size(kept.len()),
            )
        };
        usize::try_from(left).unwrap_or(0)
    }
}

fn letterbox(map: &LetterboxMap, side_px: usize) -> Letterbox {
    let sizes = [
        map.source_width_px,
        map.source_height_px,
        side_px,
        map.left_px,
        map.top_px,
        map.resized_width_px,
        map.resized_height_px,
    ];
    Letterbox { sizes: sizes.map(|size| i32::try_from(size).unwrap_or(i32::MAX)) }
}
