//! Lists `*/board.toml`, so that the existence of the file is the board and no path is needed at run time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=.");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let mut list = String::from("&[\n");
    for (name, file) in board_files(&root)? {
        writeln!(list, "    ({name:?}, include_str!({:?})),", file.display().to_string())
            .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&variable("OUT_DIR")?).join("files.rs"), list)
}

fn board_files(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let folder = entry?.path();
        let file = folder.join("board.toml");
        if let Some(name) = folder.file_name().and_then(|n| n.to_str())
            && file.is_file()
        {
            println!("cargo:rerun-if-changed={}", file.display());
            found.push((name.to_owned(), file));
        }
    }
    found.sort();
    Ok(found)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}
