//! The stages. Each runs on a thread of its own, until its queue ends or it cannot go on.

pub(super) mod capture;
pub(super) mod decode;
pub(super) mod inference;
pub(super) mod preprocess;
pub(super) mod scaling;
pub(super) mod sinks;
