//! End-to-end suites: they live in `tests/`. This library is empty but for the README, whose examples compile here.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
