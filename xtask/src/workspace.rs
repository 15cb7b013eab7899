//! Where things lie, and how other programs are started: paths of the workspace, the user's cache, cargo itself.
//! It never changes the current process's environment or folder.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::headers;

/// The checkout that `cargo xtask` was called in.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace: from cargo where cargo started us, else upwards from the current folder.
    ///
    /// # Errors
    /// Outside of a workspace.
    pub fn find() -> Result<Self> {
        // Read at run time: a target folder shared by two checkouts may hold the other one's compile-time path.
        if let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR")
            && let Some(root) = Path::new(&manifest).parent()
        {
            return Ok(Self { root: root.to_owned() });
        }
        let here = env::current_dir().context("cannot read the current folder")?;
        let root = here.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
        let root = root.with_context(|| format!("{} is in no RepEdge checkout", here.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    /// One that a test makes up.
    #[cfg(test)]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder of the workspace's Cargo.toml.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the workspace.
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A path inside the workspace, as short as the current folder allows.
    pub fn shown(&self, relative: impl AsRef<Path>) -> PathBuf {
        if env::current_dir().is_ok_and(|here| here == self.root) {
            return relative.as_ref().to_owned();
        }
        self.join(relative)
    }

    /// Where `setup` unpacks libtorch, and where `.cargo/config.toml` points unless LIBTORCH is exported.
    pub fn own_libtorch(&self) -> PathBuf {
        self.join("toolchains/libtorch")
    }

    /// The LIBTORCH that the user exported. Cargo sets the variable for us too; that value is not the user's.
    pub fn exported_libtorch(&self) -> Option<PathBuf> {
        let value = env::var_os("LIBTORCH").filter(|value| !value.is_empty())?;
        let path = PathBuf::from(value);
        (path != self.own_libtorch()).then_some(path)
    }

    /// The libtorch that a build started now links.
    pub fn libtorch(&self) -> PathBuf {
        self.exported_libtorch().unwrap_or_else(|| self.own_libtorch())
    }

    /// A cargo command in this workspace, in the environment a plain `cargo` in the user's shell would have.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.arg(subcommand).current_dir(&self.root);
        if self.exported_libtorch().is_none() {
            // Our own LIBTORCH came from .cargo/config.toml, and the child reads it there again: passing it on as
            // an exported variable could make cargo see a changed environment and compile torch-sys anew.
            command.env_remove("LIBTORCH");
        }
        if !headers::is_exported(self) {
            command.env_remove(headers::VARIABLE);
        }
        command
    }

    /// The folder that cargo builds into.
    ///
    /// # Errors
    /// When `cargo metadata` fails.
    pub fn target_folder(&self) -> Result<PathBuf> {
        let metadata = self.metadata(&["--no-deps"])?;
        let folder =
            metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
        Ok(PathBuf::from(folder))
    }

    /// `cargo metadata` with further arguments, as JSON.
    ///
    /// # Errors
    /// When cargo fails or prints something else.
    pub fn metadata(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut command = self.cargo("metadata");
        command.args(["--format-version", "1"]).args(arguments);
        let text = capture(&mut command)?;
        serde_json::from_str(&text).context("cargo metadata printed no JSON")
    }
}

/// The user's cache folder for RepEdge: `$XDG_CACHE_HOME/repedge` or `~/.cache/repedge`.
///
/// # Errors
/// When neither variable is set.
pub fn cache_folder() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        return Ok(Path::new(&cache).join("repedge"));
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set: no place for a cache")?;
    Ok(Path::new(&home).join(".cache/repedge"))
}

/// Where cargo keeps its downloads: `$CARGO_HOME` or `~/.cargo`.
///
/// # Errors
/// When neither variable is set.
pub fn cargo_home() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("CARGO_HOME").filter(|value| !value.is_empty()) {
        return Ok(folder.into());
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// Runs a program to its end, its output on our stderr (stdout is kept for `--json`).
///
/// # Errors
/// When it cannot be started or ends with another code than 0.
pub fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr()));
    run_inheriting(command)
}

/// Runs a program to its end with our own stdout and stderr.
///
/// # Errors
/// When it cannot be started or ends with another code than 0.
pub fn run_inheriting(command: &mut Command) -> Result<()> {
    let shown = display(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// Runs a program to its end and gives back what it printed on stdout.
///
/// # Errors
/// When it cannot be started, ends with another code than 0, or prints something other than UTF-8.
pub fn capture(command: &mut Command) -> Result<String> {
    let shown = display(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed something other than UTF-8"))
}

/// Whether a program answers with success, its output thrown away.
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command as a person would type it.
pub fn display(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
