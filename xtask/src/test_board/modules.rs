//! Kernel modules: which files the wanted ones need, read from what each module says of itself.
//! Debian's packages hold no `modules.dep` (their installation makes it); it never loads anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection};

use crate::workspace::display;

/// Modules of one kernel: those found, in an order in which each comes after what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modules {
    found: Vec<Module>,
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Path below `lib/modules/VERSION`, without a suffix of compression.
    pub path: String,
    /// The module itself, not compressed.
    pub bytes: Vec<u8>,
    /// Paths of what must be loaded before it, directly or not.
    pub needs: Vec<String>,
}

impl Modules {
    /// Finds the modules called `names` and all they need below `folder`, the `lib/modules/VERSION` of a kernel.
    /// What is built into the kernel is left out.
    ///
    /// # Errors
    /// Names a module that is not there, or that is no ELF file with a description.
    pub fn resolve<'a>(folder: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let files = files(folder)?;
        let builtin = builtin(folder)?;
        let mut modules = Self::default();
        for name in names {
            modules.add(folder, &files, &builtin, name, &mut BTreeSet::new())?;
        }
        Ok(modules)
    }

    /// The modules, each after what it needs.
    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.found.iter()
    }

    /// The text of `modules.dep`, which modprobe reads.
    pub fn dependencies(&self) -> String {
        let line = |module: &Module| {
            let needs = module.needs.iter().rev().map(|path| format!(" {path}")).collect::<String>();
            format!("{}:{needs}\n", module.path)
        };
        self.found.iter().map(line).collect()
    }

    /// Adds a module after what it needs; gives the paths of all that a module which needs it must wait for.
    fn add(
        &mut self,
        folder: &Path,
        files: &BTreeMap<String, PathBuf>,
        builtin: &BTreeSet<String>,
        name: &str,
        open: &mut BTreeSet<String>,
    ) -> Result<Vec<String>> {
        let name = normalized(name);
        let Some(file) = files.get(&name) else {
            ensure!(
                builtin.contains(&name),
                "the kernel package in {} has no module {name}",
                folder.display()
            );
            return Ok(Vec::new());
        };
        let path = below(folder, file);
        if let Some(known) = self.found.iter().find(|module| module.path == path) {
            return Ok([&known.needs[..], &[path]].concat());
        }
        ensure!(open.insert(name.clone()), "module {name} needs itself");
        let bytes = read(file)?;
        let mut needs = Vec::new();
        for need in needs_of(&bytes).with_context(|| file.display().to_string())? {
            for path in self.add(folder, files, builtin, &need, open)? {
                if !needs.contains(&path) {
                    needs.push(path);
                }
            }
        }
        self.found.push(Module { path: path.clone(), bytes, needs: needs.clone() });
        needs.push(path);
        Ok(needs)
    }
}

/// What a module says that it needs.
fn needs_of(bytes: &[u8]) -> Result<Vec<String>> {
    let elf = object::File::parse(bytes).context("no ELF file")?;
    let section = elf.section_by_name(".modinfo").context("no section .modinfo: no kernel module")?;
    let text = String::from_utf8_lossy(section.data().context("a broken section .modinfo")?);
    let list = text.split('\0').find_map(|entry| entry.strip_prefix("depends=")).unwrap_or_default();
    Ok(list.split(',').filter(|name| !name.is_empty()).map(normalized).collect())
}

/// Every module file below a folder by the module's name.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.join("kernel")];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                open.push(path);
            } else if let Some((name, "" | ".xz")) = name.split_once(".ko") {
                files.insert(normalized(name), path.clone());
            }
        }
    }
    Ok(files)
}

/// Names of what is no module because the kernel has it.
fn builtin(folder: &Path) -> Result<BTreeSet<String>> {
    let path = folder.join("modules.builtin");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let names = text.lines().filter_map(|line| line.rsplit('/').next()?.strip_suffix(".ko"));
    Ok(names.map(normalized).collect())
}

/// The module's bytes; newer kernel packages compress them.
fn read(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut command = Command::new("xz");
    command.args(["--decompress", "--stdout"]).arg(file);
    let output = command.output().with_context(|| format!("cannot start `{}`", display(&command)))?;
    ensure!(output.status.success(), "`{}` failed ({})", display(&command), output.status);
    Ok(output.stdout)
}

fn below(folder: &Path, file: &Path) -> String {
    let path = file.strip_prefix(folder).unwrap_or(file).to_string_lossy();
    path.strip_suffix(".xz").unwrap_or(&path).to_owned()
}

/// Modules are named with either of two signs between words.
fn normalized(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use object::write::Object as Writer;
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    use super::*;

    fn module(info: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(BinaryFormat::Elf, Architecture::Aarch64, Endianness::Little);
        let section = writer.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
        writer.append_section_data(section, info, 1);
        writer.write().unwrap()
    }

    /// A kernel whose modules are named with what each needs.
    fn kernel(modules: &[(&str, &str)], builtin: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("kernel/fs")).unwrap();
        for (name, needs) in modules {
            let info = format!("license=GPL\0depends={needs}\0name={name}\0");
            fs::write(folder.path().join("kernel/fs").join(name), module(info.as_bytes())).unwrap();
        }
        fs::write(folder.path().join("modules.builtin"), builtin).unwrap();
        folder
    }

    #[test]
    fn each_module_comes_after_what_it_needs() {
        let folder = kernel(
            &[("top.ko", "mid-a,base"), ("mid-a.ko", "base,inside"), ("base.ko", ""), ("other.ko", "")],
            "kernel/lib/inside.ko\n",
        );
        let modules = Modules::resolve(folder.path(), ["top", "base"]).unwrap();
        let paths: Vec<_> = modules.iter().map(|module| module.path.as_str()).collect();
        assert_eq!(paths, ["kernel/fs/base.ko", "kernel/fs/mid-a.ko", "kernel/fs/top.ko"]);
        assert_eq!(
            modules.dependencies(),
            "kernel/fs/base.ko:\nkernel/fs/mid-a.ko: kernel/fs/base.ko\n\
             kernel/fs/top.ko: kernel/fs/mid-a.ko kernel/fs/base.ko\n"
        );
    }

    #[test]
    fn a_missing_module_is_named() {
        let folder = kernel(&[("top.ko", "gone")], "");
        let error = Modules::resolve(folder.path(), ["top"]).unwrap_err();
        assert!(format!("{error:#}").contains("no module gone"), "{error:#}");
    }

    #[test]
    fn a_circle_ends() {
        let folder = kernel(&[("a.ko", "b"), ("b.ko", "a")], "");
        let error = Modules::resolve(folder.path(), ["a"]).unwrap_err();
        assert!(format!("{error:#}").contains("needs itself"), "{error:#}");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"\x7fELF", &module(b"")[..40]] {
            assert!(needs_of(bytes).is_err());
        }
    }
}
