//! Texts of licenses, each once: crates by the same people bring the same ones. Knows no crate and no license.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// What files with licenses are called, before whatever else is in their names.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
const RULE: &str = "------------------------------------------------------------------------";

/// Texts in the order in which they came, from number 1 on.
#[derive(Debug, Default)]
pub struct Texts {
    texts: Vec<String>,
    /// The number of a text by its words, because the same text is broken into lines in many ways.
    numbers: BTreeMap<String, usize>,
}

impl Texts {
    /// Adds what a folder of sources brings, with a file that is named beside the usual ones; gives the numbers, rising.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn add(&mut self, folder: &Path, named: Option<&Path>) -> io::Result<Vec<usize>> {
        let mut files: Vec<_> = named.iter().map(|named| folder.join(named)).collect();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().to_uppercase();
            if NAMES.iter().any(|usual| name.starts_with(usual)) && entry.path().is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        let mut numbers = Vec::new();
        for file in files {
            numbers.push(self.number(&String::from_utf8_lossy(&fs::read(file)?)));
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn number(&mut self, text: &str) -> usize {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let next = self.texts.len() + 1;
        let number = *self.numbers.entry(words).or_insert(next);
        if number == next {
            let lines = text.trim_matches('\n').lines().map(|line| line.trim_end().to_owned() + "\n");
            self.texts.push(lines.collect());
        }
        number
    }

    /// Writes all of them below a text.
    pub fn append_to(&self, out: &mut String) {
        for (number, text) in (1..).zip(&self.texts) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\n{RULE}\n[{number}]\n\n{text}");
        }
    }
}
