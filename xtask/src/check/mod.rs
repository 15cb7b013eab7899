//! `cargo xtask check`: the invariants of ARCHITECTURE.md, each a small rule over the files and the dependency graph.
//! A rule only reads; what needs a compiler is left to clippy and the tests.

mod dependencies;
mod layout;
mod sources;
mod tree;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use dependencies::Dependencies;
pub use tree::{File, Tree};

/// Arguments of `cargo xtask check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// File, and line where there is one.
    place: String,
    message: String,
}

impl Violation {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.message)
    }
}

/// Runs the command.
///
/// # Errors
/// When an invariant is broken, or git or cargo cannot be asked.
pub fn run(_args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let tree = Tree::read(&workspace)?;
    let dependencies = Dependencies::of(&workspace.metadata(&["--all-features"])?)?;
    let mut broken = 0;
    let results = dependencies::RULES.iter().map(|(name, rule)| (*name, rule(&dependencies)));
    let results = results.chain(layout::RULES.iter().map(|(name, rule)| (*name, rule(&tree))));
    let results = results.chain(sources::RULES.iter().map(|(name, rule)| (*name, rule(&tree))));
    for (name, violations) in results {
        println!("{} {name}", if violations.is_empty() { "ok    " } else { "BROKEN" });
        for violation in &violations {
            println!("         {violation}");
        }
        broken += violations.len();
    }
    match broken {
        0 => Ok(()),
        1 => bail!("1 place breaks an invariant of ARCHITECTURE.md"),
        many => bail!("{many} places break invariants of ARCHITECTURE.md"),
    }
}
