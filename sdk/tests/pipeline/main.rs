//! The pipeline over engines, sources and sinks made for it: order, policies, failures and its end. Nothing here asserts that
//! something is fast.
#![allow(clippy::unwrap_used, reason = "test code")]

mod ending;
mod failures;
mod flow;
mod pinned;
mod world;
