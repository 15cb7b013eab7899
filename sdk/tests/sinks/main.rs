//! The sinks as their users see them: a browser, a broker, a folder. Fed with pictures that are drawn here.
#![cfg(all(feature = "web", feature = "mqtt"))]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test code")]

mod broker;
mod browser;
mod feed;
mod http;
mod mqtt;
mod no_alloc;
mod page;
mod record;
mod web;
mod whole;
#[path = "../pipeline/world.rs"]
#[allow(dead_code, reason = "the pipeline's own suite uses it all")]
mod world;
