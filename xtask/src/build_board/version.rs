//! The version of a package: the workspace's, when what the package is made from was last changed, and a hash of its content.
//! Later builds sort higher, as package managers want updates to, and the same inputs have the same version.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use super::archive;
use super::record::SOURCES;

/// Digits of the content's hash.
const HASH_DIGITS: usize = 12;
/// What else packages are made with.
const TOOLS: &str = "toolchains";

/// The version of a content that was last changed then. The word before the number sorts above hexadecimal digits, with which
/// versions began that had no number.
pub fn of(changed_s: u64, hash: &str) -> String {
    format!("{}+git{changed_s}.{}", env!("CARGO_PKG_VERSION"), &hash[..HASH_DIGITS])
}

/// When what a package is made from was last changed, in seconds since 1970: SOURCE_DATE_EPOCH where it is set, else the
/// newest of the last commit, files that are not committed, and files that were `given`.
///
/// # Errors
/// When SOURCE_DATE_EPOCH is no number, or a file cannot be asked.
pub fn changed_s(root: &Path, given: &[PathBuf]) -> Result<u64> {
    if env::var_os("SOURCE_DATE_EPOCH").is_some() {
        return archive::date_s();
    }
    let Some(committed_s) = committed_s(root) else {
        eprintln!(
            "note: git tells no commit of {}: later versions may sort lower; SOURCE_DATE_EPOCH dates them",
            root.display()
        );
        return archive::date_s();
    };
    let mut newest_s = committed_s;
    for path in uncommitted(root).iter().chain(given) {
        newest_s = newest_s.max(modified_s(path)?);
    }
    Ok(newest_s)
}

/// When a source was last committed; nothing outside of a repository, or without git.
fn committed_s(root: &Path) -> Option<u64> {
    String::from_utf8(git(root, &["log", "-1", "--format=%ct"])?).ok()?.trim().parse().ok()
}

/// Sources that are not as the last commit has them.
fn uncommitted(root: &Path) -> Vec<PathBuf> {
    let changed = git(root, &["diff", "--name-only", "-z", "--relative", "HEAD"]);
    let new = git(root, &["ls-files", "-z", "--others", "--exclude-standard"]);
    let names = [changed.unwrap_or_default(), new.unwrap_or_default()].concat();
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| root.join(OsStr::from_bytes(name))).collect()
}

/// What git says about the sources, if it can say anything.
fn git(root: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut command = Command::new("git");
    command.current_dir(root).args(arguments).arg("--").args(SOURCES).arg(TOOLS);
    let output = command.output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// When a file was last changed; of one that was removed, the folder that held it.
fn modified_s(path: &Path) -> Result<u64> {
    let data = path.ancestors().find_map(|path| path.metadata().ok());
    let modified = data.with_context(|| format!("{} is not there", path.display()))?.modified()?;
    Ok(modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::workspace::run;

    const COMMITTED_S: u64 = 1_700_000_000;

    /// A repository with one commit.
    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sdk/x.rs", "README.md"] {
            write(&folder.path().join(name), 1);
        }
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.current_dir(folder.path()).env("GIT_COMMITTER_DATE", format!("{COMMITTED_S} +0000"));
            command.args(["-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]);
            run(command.args(arguments)).unwrap();
        };
        git(&["init", "--quiet"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "first"]);
        folder
    }

    /// Writes a file as if it had been at that time.
    fn write(path: &Path, at_s: u64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, at_s.to_string()).unwrap();
        touch(path, at_s);
    }

    fn touch(path: &Path, at_s: u64) {
        File::open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at_s)).unwrap();
    }

    #[test]
    fn what_was_changed_last_counts() {
        let folder = repository();
        let changed = |given: &[PathBuf]| changed_s(folder.path(), given).unwrap();
        assert_eq!(changed(&[]), COMMITTED_S, "times of files that are committed do not count");
        write(&folder.path().join("README.md"), COMMITTED_S + 5);
        assert_eq!(changed(&[]), COMMITTED_S, "nothing is made from that");
        let model = folder.path().join("my.bundle");
        write(&model, COMMITTED_S + 10);
        assert_eq!(changed(&[model]), COMMITTED_S + 10);
        write(&folder.path().join("sdk/x.rs"), COMMITTED_S + 20);
        assert_eq!(changed(&[]), COMMITTED_S + 20);
        write(&folder.path().join("xtask/new.rs"), COMMITTED_S + 30);
        assert_eq!(changed(&[]), COMMITTED_S + 30);
        fs::remove_file(folder.path().join("sdk/x.rs")).unwrap();
        touch(&folder.path().join("sdk"), COMMITTED_S + 40);
        assert_eq!(changed(&[]), COMMITTED_S + 40);
    }

    #[test]
    fn outside_of_a_repository_the_date_is_fixed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(changed_s(folder.path(), &[]).unwrap(), archive::date_s().unwrap());
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
