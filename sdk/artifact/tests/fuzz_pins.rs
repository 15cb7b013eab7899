//! The fuzz crate stands outside of the workspace, so no build notices when its manifest, its lock and the product part.
#![allow(clippy::unwrap_used, reason = "test code")]

const MANIFEST: &str = include_str!("../fuzz/Cargo.toml");
const LOCK: &str = include_str!("../fuzz/Cargo.lock");
const README: &str = include_str!("../fuzz/README.md");
const WORKSPACE_LOCK: &str = include_str!("../../../Cargo.lock");
const IGNORED: &str = include_str!("../../../.gitignore");
const TOOLS: &str = include_str!("../../../toolchains/rust.toml");

/// The versions that a lock has of a package.
fn versions<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!("[[package]]\nname = {name:?}\nversion = \"");
    lock.split(&head).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_fuzzer_is_the_one_that_the_manifest_pins() {
    let fuzzers = versions(LOCK, "libfuzzer-sys");
    assert_eq!(fuzzers.len(), 1, "{fuzzers:?}");
    let pin = format!("libfuzzer-sys = \"={}\"\n", fuzzers[0]);
    assert!(MANIFEST.contains(&pin), "fuzz/Cargo.toml has no {pin}");
    assert!(!IGNORED.contains("fuzz/Cargo.lock"), "git leaves the lock out");
}

#[test]
fn what_is_fuzzed_is_what_the_product_links() {
    for name in ["artifact", "minisign-verify", "serde", "serde_json", "sha2", "thiserror"] {
        let fuzzed = versions(LOCK, name);
        let linked = versions(WORKSPACE_LOCK, name);
        let holds = fuzzed.len() == 1 && linked.contains(&fuzzed[0]);
        assert!(
            holds,
            "{name} {fuzzed:?} in fuzz/Cargo.lock, {linked:?} in the workspace's\n  \
             help: `cargo update {name} --precise VERSION` in sdk/artifact/fuzz"
        );
    }
}

#[test]
fn its_tool_is_told_as_it_is_pinned() {
    let pinned = TOOLS.lines().find_map(|line| line.strip_prefix("cargo-fuzz = \"")).unwrap();
    let install = format!("cargo install --locked cargo-fuzz@{}\n", pinned.split('"').next().unwrap());
    assert!(README.contains(&install), "fuzz/README.md has no {install}");
}
