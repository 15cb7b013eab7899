//! RGA, the 2D engine of Rockchip's chips: resizes a camera's frame, turns it into RGB and places it between its bars in the
//! NPU's input, from DMA-BUF to DMA-BUF, so that no processor core touches a pixel. **Untested on hardware**: what is tested is
//! its use, against a stand-in for librga. Never decides whether it is used: whoever gets an error goes on with the CPU.
//!
//! Its resize is not OpenCV's: pixels may differ from those of [`Preprocessor`](super::Preprocessor), most where frames shrink
//! a lot.
//!
//! **Caches.** The device reads and writes memory, not caches. The frame must have been written by a device: those of USB
//! cameras are not, but by their driver. Of the target, what a processor wrote must have been written back before:
//! [`Rga::letterbox`] does so (`DMA_BUF_IOCTL_SYNC`) when it first sees a buffer, and afterwards whoever writes does. For memory
//! of the NPU that is `rknn_mem_sync`, with each frame that is run; a [`Slot`](crate::backend::rknn::Slot) that was written to
//! since gives no [target](crate::backend::rknn::Slot::dma). Who reads a target with the CPU makes its caches consistent first.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (camera_buffer, npu_buffer) = (std::fs::File::open("a")?, std::fs::File::open("b")?);
//! use std::os::fd::AsFd;
//! use artifact::Preprocess;
//! use repedge::frame::YuvColor;
//! use repedge::preprocess::LetterboxMap;
//! use repedge::preprocess::rga::{DmaFrame, DmaLayout, DmaPacking, DmaTarget, Rga, RgaChoice};
//!
//! let mut rga = Rga::open(&RgaChoice::System)?;
//! let recipe = Preprocess::yolo(640, 640);
//! let packing = DmaPacking::Nv12 { stride: 1920 };
//! let layout = DmaLayout { width_px: 1920, height_px: 1080, packing, color: YuvColor::default() };
//! let frame = DmaFrame { fd: camera_buffer.as_fd(), layout };
//! let target = DmaTarget { fd: npu_buffer.as_fd(), width_px: 640, height_px: 640, row_bytes: 1920 };
//! rga.letterbox(&frame, &target, &LetterboxMap::fit(1920, 1080, &recipe), recipe.pad_value)?;
//! # Ok(())
//! # }
//! ```

mod failure;
mod ffi;
mod imports;
mod layout;

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use super::LetterboxMap;
use ffi::Library;
use imports::{Identity, Imports, Known};

pub(crate) use ffi::{SYNC_END, SYNC_READ, sync};

pub use failure::{RgaError, RgaFailure};
pub use layout::{DmaFrame, DmaLayout, DmaPacking, DmaTarget};

/// Oldest version of librga that is used: the first that works over the drivers of all chips, as Rockchip's RGA guide says.
pub const OLDEST: RgaVersion = RgaVersion([1, 9, 0]);

const LIBRARIES: [&str; 2] = ["librga.so", "librga.so.2"];

/// Whether RGA is used, and which librga.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RgaChoice {
    /// The machine's, where there is one.
    #[default]
    System,
    /// The one in this file.
    File(PathBuf),
    /// It is not used.
    Off,
}

/// A version of librga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RgaVersion(pub [u32; 3]);

/// RGA, and the buffers that it knows.
pub struct Rga {
    library: Library,
    version: RgaVersion,
    imports: Imports,
}

impl Rga {
    /// Loads librga.
    ///
    /// # Errors
    /// [`RgaFailure::MissingLibrary`] when it is not there or `choice` is [`RgaChoice::Off`],
    /// [`RgaFailure::MissingFunction`] and [`RgaFailure::Version`] when it is none that we know.
    pub fn open(choice: &RgaChoice) -> Result<Self, RgaError> {
        let library = match choice {
            RgaChoice::System => open_first(&LIBRARIES.map(OsStr::new)),
            RgaChoice::File(file) => open_first(&[file.as_os_str()]),
            RgaChoice::Off => open_first(&[]),
        }?;
        if let Some(name) = library.lacks() {
            return Err(RgaFailure::MissingFunction.with(format!("a librga without {name}")));
        }
        let stated = library.version().unwrap_or_default();
        let version = version_in(&stated);
        let version = version.filter(|version| *version >= OLDEST && version.0[0] == OLDEST.0[0]);
        let version = version.ok_or_else(|| {
            let stated = stated.lines().next().unwrap_or_default().trim();
            RgaFailure::Version.with(format!("a librga that says of its version: {stated:?}"))
        })?;
        Ok(Self { library, version, imports: Imports::new() })
    }

    /// The version of librga.
    pub fn version(&self) -> RgaVersion {
        self.version
    }

    /// Resizes `frame` to where `map` places it in `target`, as RGB, and fills the bars with `pad_value`. Returns when it is
    /// done. Allocates nothing for buffers that it has seen; it knows the last 16, which stay allocated as long.
    ///
    /// # Errors
    /// When the device cannot do this, before anything is written ([`RgaFailure::Color`], [`RgaFailure::Sides`],
    /// [`RgaFailure::Stride`], [`RgaFailure::Scale`], [`RgaFailure::ShortBuffer`], [`RgaFailure::Import`]), or when it
    /// failed, with the target in any state ([`RgaFailure::Call`]).
    pub fn letterbox(
        &mut self,
        frame: &DmaFrame<'_>,
        target: &DmaTarget<'_>,
        map: &LetterboxMap,
        pad_value: u8,
    ) -> Result<(), RgaError> {
        let (from, to) = (frame.layout.surface()?, target.surface()?);
        let (area, color) = (layout::placement(from, to, map)?, frame.layout.color_mode()?);
        let (source_id, target_id) = (Identity::of(frame.fd), Identity::of(target.fd));
        if source_id == target_id {
            // Before Linux 5.3 all DMA-BUFs have one identity: then none is known again.
            self.imports.clear(&self.library);
        }
        let (source, _) = self.imports.get(&self.library, frame.fd, source_id, from)?;
        let (input, known) = self.imports.get(&self.library, target.fd, target_id, to)?;
        if known == Known::SinceNow {
            self.write_back(target)?;
        }
        for bar in layout::bars(to, area) {
            self.library.fill(input, bar, [pad_value; 3])?;
        }
        Ok(self.library.scale(source, input, area, color)?)
    }

    /// Writes back what a processor wrote to `target`. Where that fails, no buffer is known any more, so that it is tried again.
    fn write_back(&mut self, target: &DmaTarget<'_>) -> Result<(), RgaError> {
        ffi::write_back(target.fd).map_err(|error| {
            self.imports.clear(&self.library);
            RgaFailure::Import.with(format!("a buffer whose caches cannot be written back: {error}"))
        })
    }
}

impl Drop for Rga {
    fn drop(&mut self) {
        self.imports.clear(&self.library);
    }
}

impl fmt::Debug for Rga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rga").field("version", &self.version).finish_non_exhaustive()
    }
}

impl fmt::Display for RgaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, revision] = self.0;
        write!(f, "{major}.{minor}.{revision}")
    }
}

fn open_first(names: &[&OsStr]) -> Result<Library, RgaError> {
    let mut reasons = Vec::new();
    for name in names {
        match Library::open(name) {
            Ok(library) => return Ok(library),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(RgaFailure::MissingLibrary.with(format!("no librga on this machine ({})", reasons.join("; "))))
}

/// The first three numbers with dots between them, as in `RGA_api version : v1.9.0_[0]`.
fn version_in(text: &str) -> Option<RgaVersion> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let numbers: Vec<u32> = word.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        <[u32; 3]>::try_from(numbers).ok().map(RgaVersion)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_library_tells_them() {
        let told = "RGA_api version       : v1.10.1_[4]\nRGA version           : RGA_3 RGA_2_Enhance\n";
        assert_eq!(version_in(told), Some(RgaVersion([1, 10, 1])));
        assert!(version_in(told) > Some(OLDEST));
        assert!(version_in("RGA_api version : v1.3.2_[0]") < Some(OLDEST));
        for untold in ["", "RGA version : RGA_2_Enhance", "v1.9", "1.2.3.4", "..", "99999999999.0.0"] {
            assert_eq!(version_in(untold), None, "{untold:?}");
        }
    }

    #[test]
    fn no_library_is_an_ordinary_answer() {
        for choice in [RgaChoice::File("/nowhere/librga.so".into()), RgaChoice::Off] {
            let error = Rga::open(&choice).unwrap_err();
            assert_eq!(error.failure, RgaFailure::MissingLibrary);
            assert!(error.to_string().contains("no librga on this machine"), "{error}");
        }
    }
}
