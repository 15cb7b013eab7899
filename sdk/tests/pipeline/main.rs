//! The pipeline over engines, sources and sinks made for it: order, policies, failures and its end. Nothing here asserts that
//! something is fast.
#![allow(clippy::unwrap_used, reason = "test code")]

#[cfg(feature = "tract")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "tract")]
mod controls;
mod ending;
mod failures;
mod flow;
mod pinned;
#[cfg(feature = "tract")]
mod recorded;
mod world;
