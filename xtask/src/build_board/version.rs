//! The version of a package: the workspace's, when its sources were last committed, and a hash of its content. Later commits
//! sort higher, as package managers want updates to, and the same inputs have the same version: no file's time counts, because a
//! copy or another checkout has others. What is not committed, and files that are given, tell by the hash alone.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::archive;
use super::record::SOURCES;

/// Digits of the content's hash.
const HASH_DIGITS: usize = 12;
/// What else packages are made with.
const TOOLS: &str = "toolchains";

/// The version of a content whose sources were last committed then. The word before the number sorts above hexadecimal digits,
/// with which versions began that had no number.
pub fn of(committed_s: u64, hash: &str) -> String {
    format!("{}+git{committed_s}.{}", env!("CARGO_PKG_VERSION"), &hash[..HASH_DIGITS])
}

/// When the sources were last committed, in seconds since 1970: SOURCE_DATE_EPOCH where it is set, and where git tells no
/// commit the constant that archives are dated with too.
///
/// # Errors
/// When SOURCE_DATE_EPOCH is no number.
pub fn date_s(root: &Path) -> Result<u64> {
    if env::var_os("SOURCE_DATE_EPOCH").is_some() {
        return archive::date_s();
    }
    if is_shallow(root) {
        eprintln!(
            "note: {} is a shallow clone, which may date its sources later than a whole one: `git fetch --unshallow`, or \
             SOURCE_DATE_EPOCH, gives the version that others get",
            root.display()
        );
    }
    if let Some(committed_s) = committed_s(root) {
        return Ok(committed_s);
    }
    eprintln!(
        "note: git tells no commit of {}: later versions may sort lower; SOURCE_DATE_EPOCH dates them",
        root.display()
    );
    archive::date_s()
}

/// When a source was last committed; nothing outside of a repository, or without git.
fn committed_s(root: &Path) -> Option<u64> {
    let mut arguments = vec!["log", "-1", "--format=%ct", "--"];
    arguments.extend(SOURCES);
    arguments.push(TOOLS);
    git(root, &arguments)?.parse().ok()
}

/// Whether the repository ends at a commit that seems to have made everything that it holds.
fn is_shallow(root: &Path) -> bool {
    git(root, &["rev-parse", "--is-shallow-repository"]).is_some_and(|answer| answer == "true")
}

/// What git says about the sources, if it can say anything.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace::run;

    const COMMITTED_S: u64 = 1_700_000_000;

    /// A folder with one source and one file that is none.
    fn sources() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sdk")).unwrap();
        for name in ["sdk/x.rs", "README.md"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    }

    fn git_in(folder: &Path, at_s: u64, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.current_dir(folder).env("GIT_COMMITTER_DATE", format!("{at_s} +0000"));
        command.args(["-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]);
        run(command.args(arguments)).unwrap();
    }

    fn commit(folder: &Path, at_s: u64) {
        git_in(folder, at_s, &["add", "."]);
        git_in(folder, at_s, &["commit", "--quiet", "--message", "x"]);
    }

    #[test]
    fn the_last_commit_of_a_source_counts_and_nothing_else() {
        let folder = sources();
        let root = folder.path();
        git_in(root, COMMITTED_S, &["init", "--quiet"]);
        commit(root, COMMITTED_S);
        fs::write(root.join("README.md"), "nothing is made from that").unwrap();
        commit(root, COMMITTED_S + 5);
        assert_eq!(date_s(root).unwrap(), COMMITTED_S);
        // Files are as new as this test: their times are later than any commit of it.
        fs::write(root.join("sdk/x.rs"), "not committed").unwrap();
        fs::write(root.join("sdk/new.rs"), "not committed").unwrap();
        assert_eq!(date_s(root).unwrap(), COMMITTED_S);
        commit(root, COMMITTED_S + 20);
        assert_eq!(date_s(root).unwrap(), COMMITTED_S + 20);
    }

    #[test]
    fn outside_of_a_repository_the_date_is_fixed() {
        assert_eq!(date_s(sources().path()).unwrap(), archive::date_s().unwrap());
    }

    #[test]
    fn a_clone_without_its_history_is_noticed() {
        let (folder, clones) = (sources(), tempfile::tempdir().unwrap());
        let root = folder.path();
        git_in(root, COMMITTED_S, &["init", "--quiet"]);
        commit(root, COMMITTED_S);
        fs::write(root.join("README.md"), "nothing is made from that").unwrap();
        commit(root, COMMITTED_S + 5);
        let url = format!("file://{}", root.display());
        git_in(clones.path(), COMMITTED_S, &["clone", "--quiet", "--depth", "1", &url, "shallow"]);
        assert!(!is_shallow(root) && is_shallow(&clones.path().join("shallow")));
    }

    #[test]
    #[ignore = "needs dpkg-deb"]
    fn later_versions_sort_higher() {
        let old = |hash: &str| format!("{}+{hash}", env!("CARGO_PKG_VERSION"));
        let rising = [of(COMMITTED_S, "ffffffffffffff"), of(COMMITTED_S + 1, "00000000000000")];
        for (lower, higher) in
            [(&rising[0], &rising[1]), (&old("ffffffffffff"), &rising[0]), (&old("999999999999"), &rising[0])]
        {
            run(Command::new("dpkg").args(["--compare-versions", lower, "lt", higher])).unwrap();
        }
    }
}
