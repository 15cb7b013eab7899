//! Frames and inputs in files in memory.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use repedge::YuvFrame;
use repedge::frame::{Plane, Samples, YuvColor};
use repedge::preprocess::rga::{DmaFrame, DmaLayout, DmaPacking, DmaTarget};
use rustix::fs::{MemfdFlags, memfd_create};

/// What lies in padding, and must stay there.
pub const PADDING: u8 = 0xa5;

/// A file in memory with these bytes.
pub fn file(bytes: &[u8]) -> File {
    let fd: OwnedFd = memfd_create("dma-buf", MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(fd);
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// A frame in a file, and the same bytes for the CPU.
pub struct Camera {
    pub file: File,
    pub layout: DmaLayout,
    bytes: Vec<u8>,
}

impl Camera {
    /// A frame with padded rows, whose sample of Y, U or V (0, 1, 2) at column and row of all pixels is `sample`.
    pub fn new(layout: DmaLayout, sample: impl Fn(usize, usize, usize) -> u8) -> Self {
        let DmaLayout { width_px, height_px, packing, .. } = layout;
        let mut bytes = match packing {
            DmaPacking::Nv12 { stride } => vec![PADDING; stride * height_px * 3 / 2],
            DmaPacking::Yuyv { stride } => vec![PADDING; stride * height_px],
        };
        for y in 0..height_px {
            for x in 0..width_px {
                match packing {
                    DmaPacking::Nv12 { stride } => {
                        bytes[stride * y + x] = sample(0, x, y);
                        bytes[stride * (height_px + y / 2) + x] = sample(1 + x % 2, x / 2 * 2, y / 2 * 2);
                    }
                    DmaPacking::Yuyv { stride } => {
                        bytes[stride * y + 2 * x] = sample(0, x, y);
                        bytes[stride * y + 2 * x + 1] = sample(1 + x % 2, x / 2 * 2, y);
                    }
                }
            }
        }
        Self { file: file(&bytes), layout, bytes }
    }

    /// For RGA.
    pub fn frame(&self) -> DmaFrame<'_> {
        DmaFrame { fd: self.file.as_fd(), layout: self.layout }
    }

    /// For the CPU.
    pub fn picture(&self) -> YuvFrame<'_> {
        let DmaLayout { width_px, height_px, packing, color } = self.layout;
        let samples = match packing {
            DmaPacking::Nv12 { stride } => {
                let (luma, chroma) = self.bytes.split_at(stride * height_px);
                Samples::Nv12 { luma: Plane { bytes: luma, stride }, chroma: Plane { bytes: chroma, stride } }
            }
            DmaPacking::Yuyv { stride } => Samples::Yuyv(Plane { bytes: &self.bytes, stride }),
        };
        YuvFrame { width_px, height_px, samples, color }
    }
}

/// NV12 of `width_px` and `height_px`, padded to rows of `stride`.
pub fn nv12(width_px: usize, height_px: usize, stride: usize) -> DmaLayout {
    DmaLayout { width_px, height_px, packing: DmaPacking::Nv12 { stride }, color: YuvColor::default() }
}

/// YUYV, likewise.
pub fn yuyv(width_px: usize, height_px: usize, stride: usize) -> DmaLayout {
    DmaLayout { packing: DmaPacking::Yuyv { stride }, ..nv12(width_px, height_px, 0) }
}

/// Something smooth, because resizes may differ at edges.
pub fn smooth(kind: usize, x: usize, y: usize) -> u8 {
    let value = match kind {
        0 => 40 + x + y / 2,
        1 => 100 + x / 2,
        _ => 150 - y / 2,
    };
    u8::try_from(value).unwrap()
}

/// A model input in a file.
pub struct Input {
    pub file: File,
    pub width_px: usize,
    pub height_px: usize,
    pub row_bytes: usize,
}

impl Input {
    pub fn new(width_px: usize, height_px: usize, row_bytes: usize) -> Self {
        Self { file: file(&vec![PADDING; row_bytes * height_px]), width_px, height_px, row_bytes }
    }

    pub fn target(&self) -> DmaTarget<'_> {
        let Self { width_px, height_px, row_bytes, .. } = *self;
        DmaTarget { fd: self.file.as_fd(), width_px, height_px, row_bytes }
    }

    /// The pixels without padding, which must be as it was.
    pub fn pixels(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.row_bytes * self.height_px];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        let mut pixels = Vec::new();
        for row in bytes.chunks_exact(self.row_bytes) {
            let (row, padding) = row.split_at(self.width_px * 3);
            assert!(padding.iter().all(|byte| *byte == PADDING), "padding was written to");
            pixels.extend_from_slice(row);
        }
        pixels
    }
}
