//! Lets the built programs find libtorch where it was linked, without a library path in the environment, and tells
//! them its version.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = std::env::var("LIBTORCH").ok();
    if std::env::var_os("CARGO_FEATURE_TORCH").is_some()
        && let Some(libtorch) = &libtorch
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    let version =
        libtorch.and_then(|folder| std::fs::read_to_string(Path::new(&folder).join("build-version")).ok());
    let version = version.as_deref().map_or("of unknown version", str::trim);
    println!("cargo:rustc-env=REPEDGE_LIBTORCH_VERSION={version}");
}
