//! A frame where a camera put it. Never read by a processor: that is what a shot's bytes are for.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::preprocess::rga::{DmaFrame, DmaLayout};

/// A frame in a camera's DMA-BUF. The camera fills that buffer again once all clones of this are dropped, so it is to be held no
/// longer than it is read.
#[derive(Debug, Clone)]
pub struct ShotDma {
    fd: Arc<OwnedFd>,
    layout: DmaLayout,
}

impl ShotDma {
    /// The frame that lies as `layout` says from the first byte of `fd`, which is in use as long as it is shared.
    pub fn new(fd: Arc<OwnedFd>, layout: DmaLayout) -> Self {
        Self { fd, layout }
    }

    /// For devices.
    pub fn frame(&self) -> DmaFrame<'_> {
        DmaFrame { fd: self.fd.as_fd(), layout: self.layout }
    }
}
