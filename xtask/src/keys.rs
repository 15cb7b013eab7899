//! `cargo xtask keys`: makes the keys that bundles and packages are signed with, and lists them. Private keys stay in
//! the user's own folder, readable by nobody else; devices get the public ones.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use signing::{KeyFiles, Protection};

/// Arguments of `cargo xtask keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key: NAME.key to sign with, NAME.pub for devices.
    Generate(Generate),
    /// List the keys there are.
    List(List),
}

#[derive(Debug, clap::Args)]
struct Generate {
    /// Name of the key.
    #[arg(default_value = "repedge", value_parser = plain_name)]
    name: String,
    /// Folder of keys [default: repedge/keys in the user's configuration folder].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Do not protect the private key with a password: for tests, and for machines that sign on their own.
    #[arg(long)]
    no_password: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Folder of keys [default: repedge/keys in the user's configuration folder].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When a key is there already, or a file cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Generate(args) => generate(args),
        Command::List(args) => list(&folder(args.dir.as_deref())?),
    }
}

fn generate(args: &Generate) -> Result<()> {
    let files = KeyFiles::of(&folder(args.dir.as_deref())?, &args.name);
    ensure!(
        !files.private.exists() && !files.public.exists(),
        "the key {} is there already: choose another name, or keep it",
        files.private.display()
    );
    files.generate(if args.no_password { Protection::None } else { Protection::Password })?;
    println!(
        "{}: signs (build-board --sign, train-host convert --sign); keep it secret",
        files.private.display()
    );
    println!("{}: verifies; put it into /etc/repedge/keys of your devices", files.public.display());
    Ok(())
}

fn list(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            println!("no keys in {}: make one with `cargo xtask keys generate`", folder.display());
            return Ok(());
        }
        entries => entries.with_context(|| format!("cannot list {}", folder.display()))?,
    };
    let mut publics = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    publics.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
    publics.sort();
    for public in publics {
        let text =
            fs::read_to_string(&public).with_context(|| format!("cannot read {}", public.display()))?;
        let key = text.lines().nth(1).unwrap_or("no key");
        let private = if public.with_extension("key").exists() { "signs" } else { "verifies only" };
        println!("{}  {key}  {private}", public.display());
    }
    Ok(())
}

/// The file of a private key as it was named; a bare name is also looked for in the user's folder of keys.
///
/// # Errors
/// When there is none; names each place that was looked in, and how to make one.
pub fn find(named: &Path) -> Result<PathBuf> {
    find_in(named, folder(None).ok().as_deref())
}

fn find_in(named: &Path, keys: Option<&Path>) -> Result<PathBuf> {
    let is_bare = named.components().count() == 1;
    let places: Vec<_> =
        iter::once(named.to_owned()).chain(keys.filter(|_| is_bare).map(|keys| keys.join(named))).collect();
    let tried = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" and ");
    places.into_iter().find(|place| place.is_file()).with_context(|| {
        format!(
            "there is no private key in {tried}: expected a NAME.key\n  help: `cargo xtask keys generate` makes one, `cargo xtask \
             keys list` shows those there are"
        )
    })
}

/// `given`, or the folder of keys in the user's configuration folder.
fn folder(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    Ok(configuration
        .context("neither XDG_CONFIG_HOME nor HOME is set: name a folder with --dir")?
        .join("repedge/keys"))
}

fn plain_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if plain { Ok(text.to_owned()) } else { Err("letters, digits, '-' and '_'".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let args = Generate { name: "ours".into(), dir: Some(dir.path().join("keys")), no_password: true };
        generate(&args).unwrap();
        assert!(generate(&args).unwrap_err().to_string().contains("there already"));
        list(&dir.path().join("keys")).unwrap();
        list(&dir.path().join("none")).unwrap();
        assert!(plain_name("../x").is_err() && plain_name("").is_err() && plain_name("our-key_2").is_ok());
    }

    #[test]
    fn a_key_is_found_where_it_was_made() {
        let (here, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = Path::new("no-such-key-of-ours.key");
        let made = keys.path().join(name);
        let error = find_in(name, Some(keys.path())).unwrap_err().to_string();
        for part in
            ["in no-such-key-of-ours.key and ", &made.display().to_string(), "`cargo xtask keys generate`"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        fs::write(&made, "key").unwrap();
        assert_eq!(find_in(name, Some(keys.path())).unwrap(), made);
        // Where a folder is named the key is meant that lies there.
        let elsewhere = here.path().join(name);
        let error = find_in(&elsewhere, Some(keys.path())).unwrap_err().to_string();
        assert!(!error.contains(" and "), "{error}");
        fs::write(&elsewhere, "key").unwrap();
        assert_eq!(find_in(&elsewhere, Some(keys.path())).unwrap(), elsewhere);
    }
}
