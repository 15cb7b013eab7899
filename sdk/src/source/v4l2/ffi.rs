//! The unions of V4L2's structures: which member counts is said by another field. Here that field is looked at, and nothing else
//! is done. Beside that, the clock that drivers go by. All other unsafe code of the camera is that of `v4l2r`.

use std::time::Duration;

use v4l2r::QueueType;
use v4l2r::bindings::{
    v4l2_captureparm, v4l2_format, v4l2_fract, v4l2_streamparm, v4l2_streamparm__bindgen_ty_1,
};

use super::layout::DriverFormat;
use super::offer::Code;

impl From<v4l2_format> for DriverFormat {
    fn from(format: v4l2_format) -> Self {
        if format.type_ == QueueType::VideoCaptureMplane as u32 {
            // SAFETY: for this type the driver filled `pix_mp`, whose fields are integers: every bit pattern is one.
            let pix = unsafe { format.fmt.pix_mp };
            // SAFETY: both members of the union are one byte.
            let encoding = unsafe { pix.__bindgen_anon_1.ycbcr_enc };
            let planes = pix.plane_fmt;
            return Self {
                code: Code(pix.pixelformat.to_le_bytes()),
                sides_px: [pix.width, pix.height],
                strides: [planes[0].bytesperline, planes[1].bytesperline],
                colorspace: pix.colorspace,
                encoding: encoding.into(),
                quantization: pix.quantization.into(),
            };
        }
        // SAFETY: we ask for the two types of capture only, and for the other one the driver filled `pix`; its fields are
        // integers, and the structure was zeroed before: every bit pattern is a value.
        let pix = unsafe { format.fmt.pix };
        // SAFETY: both members of the union are an integer of 32 bits.
        let encoding = unsafe { pix.__bindgen_anon_1.ycbcr_enc };
        Self {
            code: Code(pix.pixelformat.to_le_bytes()),
            sides_px: [pix.width, pix.height],
            strides: [pix.bytesperline, 0],
            colorspace: pix.colorspace,
            encoding,
            quantization: pix.quantization,
        }
    }
}

/// The wish for `fps` frames a second.
pub(super) fn pace(queue: QueueType, fps: u32) -> v4l2_streamparm {
    let timeperframe = v4l2_fract { numerator: 1, denominator: fps };
    let capture = v4l2_captureparm { timeperframe, ..v4l2_captureparm::default() };
    v4l2_streamparm { type_: queue as u32, parm: v4l2_streamparm__bindgen_ty_1 { capture } }
}

/// The time by `CLOCK_MONOTONIC`, which most drivers go by, and [`std::time::Instant`] too.
pub(super) fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that may be written. This clock is there on every Linux, so that the call does not fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
