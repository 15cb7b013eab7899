//! Memory of other devices that a context has imported: each once, the oldest given up when there are too many. Never
//! outlives its context.

use std::sync::Arc;

use super::context::Context;
use super::failure::{Failing, at};
use super::memory::Memory;
use super::slot::Imported;

/// Buffers of other devices that a context keeps imported; a camera has fewer.
const MAX_IMPORTS: usize = 16;

/// What is imported.
pub(super) struct Imports {
    memories: Vec<Memory>,
}

impl Imports {
    pub(super) fn new() -> Self {
        Self { memories: Vec::with_capacity(MAX_IMPORTS) }
    }

    /// The memory of `device`, where it is imported.
    pub(super) fn get(&self, device: &Arc<Imported>) -> Option<&Memory> {
        let is_same = |memory: &&Memory| memory.device().is_some_and(|known| known.id == device.id);
        self.memories.iter().find(is_same)
    }

    /// Imports `device`, for which others may go: nothing of this may be bound to the context.
    pub(super) fn add(&mut self, context: &Context, device: &Arc<Imported>) -> Result<(), Failing> {
        // What nobody else holds any more can never come again.
        self.memories.retain(|memory| memory.device().is_some_and(|known| Arc::strong_count(known) > 1));
        if self.memories.len() == MAX_IMPORTS {
            self.memories.remove(0);
        }
        self.memories.push(Memory::import(context, device).map_err(at("rknn_create_mem_from_fd"))?);
        Ok(())
    }
}
