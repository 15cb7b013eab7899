//! Panics inside tract stay off stderr, all others do not. One test a process: the hook is the whole process's.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::panic::{catch_unwind, set_hook};
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;
use repedge::backend::tract::TractSession;

#[test]
fn a_model_that_makes_tract_panic_is_an_error_and_nothing_else() {
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    set_hook(Box::new(|_| {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }));
    let mut model = common::onnx();
    let attributes = &mut model.graph.as_mut().unwrap().node[0].attribute;
    attributes.iter_mut().find(|a| a.name == "strides").unwrap().ints = vec![0, 0];
    let error = TractSession::from_onnx(&model.encode_to_vec(), common::input(), common::outputs())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("tract gave up: "), "{error}");
    assert_eq!(HEARD.load(Ordering::Relaxed), 0);
    catch_unwind(|| panic!("somebody else's")).unwrap_err();
    assert_eq!(HEARD.load(Ordering::Relaxed), 1);
}
