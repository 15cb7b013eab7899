//! `cargo fuzz run bundle`, in `sdk/artifact`: the reader over whatever libFuzzer comes up with.
#![no_main]

#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::read_bundle(bytes));
