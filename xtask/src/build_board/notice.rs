//! THIRD-PARTY: what of others is linked into the programs of a board, and the licenses that it comes under, from cargo's
//! metadata and the license files in the crates' sources. The same crates give the same text on every machine.

mod licenses;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::workspace::Workspace;
use licenses::Texts;

/// The file's name in a package.
pub const FILE: &str = "THIRD-PARTY";
/// The package that the programs are of.
const ROOT: &str = "examples";

const HEAD: &str = "\
Software of others in the programs of this package, and the licenses that it comes under. Numbers name the license texts
below. Crates that only some builds of these programs hold are listed all the same.

Rust's standard library, by the Rust Project's developers: MIT OR Apache-2.0
";
/// What the license of the Independent JPEG Group asks to be said of programs that come without their source.
const JPEG_GROUP: &str = "\nThis software is based in part on the work of the Independent JPEG Group.\n";

/// What `cargo metadata` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Crate {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<PathBuf>,
    authors: Vec<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    /// None for what is linked; `dev` and `build` else.
    kind: Option<String>,
}

/// The notice for programs built with these features for a target.
///
/// # Errors
/// When cargo does not tell, a source cannot be read, or a crate names no license.
pub fn of(workspace: &Workspace, triple: &str, features: &str) -> Result<String> {
    let arguments = ["--locked", "--features", features, "--filter-platform", triple];
    let metadata = workspace.metadata(&arguments).context("cargo does not tell what the programs hold")?;
    text(&serde_json::from_value(metadata).context("cargo metadata prints something else")?)
}

fn text(metadata: &Metadata) -> Result<String> {
    let mut crates = linked(metadata)?;
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let mut texts = Texts::default();
    let mut notice = HEAD.to_owned();
    for it in &crates {
        notice.push_str(&it.line(&mut texts)?);
    }
    if crates.iter().any(|it| it.has_license("IJG")) {
        notice.push_str(JPEG_GROUP);
    }
    texts.append_to(&mut notice);
    Ok(notice)
}

/// The crates of others that are linked, not those that only run while building.
fn linked(metadata: &Metadata) -> Result<Vec<&Crate>> {
    let crates: BTreeMap<_, _> = metadata.packages.iter().map(|it| (&it.id, it)).collect();
    let nodes: BTreeMap<_, _> = metadata.resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut open: Vec<_> = metadata.packages.iter().filter(|it| it.name == ROOT).map(|it| &it.id).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) || crates.get(id).is_some_and(|it| it.is_macro()) {
            continue;
        }
        let node = nodes.get(id).with_context(|| format!("cargo metadata resolves no {id}"))?;
        let linked = node.deps.iter().filter(|dependency| dependency.is_linked());
        open.extend(linked.map(|dependency| &dependency.pkg));
    }
    let found = seen.into_iter().filter_map(|id| crates.get(id).copied());
    Ok(found.filter(|it| !it.is_macro() && !metadata.workspace_members.contains(&it.id)).collect())
}

impl Dependency {
    fn is_linked(&self) -> bool {
        self.dep_kinds.iter().any(|it| it.kind.is_none())
    }
}

impl Crate {
    /// A macro runs in the compiler.
    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    fn has_license(&self, name: &str) -> bool {
        let expression = self.license.as_deref().unwrap_or_default();
        expression.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name)
    }

    /// Name, version, license, and where its texts are.
    fn line(&self, texts: &mut Texts) -> Result<String> {
        let folder = self.manifest_path.parent().unwrap_or(Path::new(""));
        let numbers = texts.add(folder, self.license_file.as_deref());
        let numbers = numbers.with_context(|| format!("cannot read the licenses of {}", self.name))?;
        ensure!(
            self.license.is_some() || !numbers.is_empty(),
            "{} {} names no license and has no text of one: programs with it cannot be given away",
            self.name,
            self.version
        );
        let mut line = format!("{} {}", self.name, self.version);
        let license = self.license.as_deref().unwrap_or("as its text says");
        // Writing to a string cannot fail.
        if numbers.is_empty() {
            let authors =
                if self.authors.is_empty() { "its authors".into() } else { self.authors.join(", ") };
            let _ = write!(line, ", by {authors}: {license}; its source brings no text of it");
        } else {
            let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
            let _ = write!(line, ": {license} [{}]", numbers.join(", "));
        }
        Ok(line + "\n")
    }
}
