//! Lists `*/board.toml` and `bases/*.toml`, so that the existence of a file is the board or the base, and no path is
//! needed at run time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=.");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    write_list("boards.rs", board_files(&root)?)?;
    write_list("bases.rs", base_files(&root.join("bases"))?)
}

fn write_list(name: &str, mut files: Vec<(String, PathBuf)>) -> io::Result<()> {
    files.sort();
    let mut list = String::from("&[\n");
    for (name, file) in files {
        println!("cargo:rerun-if-changed={}", file.display());
        writeln!(list, "    ({name:?}, include_str!({:?})),", file.display().to_string())
            .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&variable("OUT_DIR")?).join(name), list)
}

fn board_files(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let folder = entry?.path();
        let file = folder.join("board.toml");
        if let Some(name) = folder.file_name().and_then(|n| n.to_str())
            && file.is_file()
        {
            found.push((name.to_owned(), file));
        }
    }
    Ok(found)
}

fn base_files(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if let Some(name) = file.file_stem().and_then(|n| n.to_str())
            && file.extension().is_some_and(|extension| extension == "toml")
        {
            found.push((name.to_owned(), file));
        }
    }
    Ok(found)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}
