//! End-to-end suites: they live in `tests/`, and this library holds nothing but their name.
