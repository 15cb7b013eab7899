//! Our header against the vendor's, which a published crate contains and which we only read: the same C program, compiled
//! against each, must print the same sizes, offsets and values; and our declarations of the functions must be
//! compatible with the vendor's, which a C compiler judges.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

/// The structs of `abi/types.h` and `abi/custom_op.h` with their fields, in their order.
const STRUCTS: &[(&str, &[&str])] = &[
    ("rknn_input_output_num", &["n_input", "n_output"]),
    (
        "rknn_tensor_attr",
        &[
            "index",
            "n_dims",
            "dims",
            "name",
            "n_elems",
            "size",
            "fmt",
            "type",
            "qnt_type",
            "fl",
            "zp",
            "scale",
            "w_stride",
            "size_with_stride",
            "pass_through",
            "h_stride",
        ],
    ),
    ("rknn_input_range", &["index", "shape_number", "fmt", "name", "dyn_range", "n_dims"]),
    ("rknn_perf_detail", &["perf_data", "data_len"]),
    ("rknn_perf_run", &["run_duration"]),
    ("rknn_sdk_version", &["api_version", "drv_version"]),
    (
        "rknn_mem_size",
        &[
            "total_weight_size",
            "total_internal_size",
            "total_dma_allocated_size",
            "total_sram_size",
            "free_sram_size",
            "reserved",
        ],
    ),
    ("rknn_custom_string", &["string"]),
    ("rknn_tensor_mem", &["virt_addr", "phys_addr", "fd", "offset", "size", "flags", "priv_data"]),
    ("rknn_input", &["index", "buf", "size", "pass_through", "type", "fmt"]),
    ("rknn_output", &["want_float", "is_prealloc", "index", "buf", "size"]),
    (
        "rknn_init_extend",
        &["ctx", "real_model_offset", "real_model_size", "model_buffer_fd", "model_buffer_flags", "reserved"],
    ),
    ("rknn_run_extend", &["frame_id", "non_block", "timeout_ms", "fence_fd"]),
    ("rknn_output_extend", &["frame_id"]),
    ("rknn_custom_op_tensor", &["attr", "mem"]),
    (
        "rknn_custom_op",
        &[
            "version",
            "target",
            "op_type",
            "cl_kernel_name",
            "cl_kernel_source",
            "cl_source_size",
            "cl_build_options",
            "init",
            "prepare",
            "compute",
            "compute_native",
            "destroy",
        ],
    ),
];

fn abi(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("abi").join(file)
}

/// The vendor's header, in the sources that cargo has fetched.
fn vendor_header() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == "rknn-sys-rs");
    let manifest =
        package.context("rknn-sys-rs is no dependency")?["manifest_path"].as_str().context("no path")?;
    let header = Path::new(manifest).with_file_name("rknn_api.h");
    ensure!(header.is_file(), "{} is not there", header.display());
    Ok(header)
}

/// Our types.
fn types() -> String {
    ["types.h", "custom_op.h"].map(|file| std::fs::read_to_string(abi(file)).unwrap()).concat()
}

/// The structs that our types define.
fn structs(types: &str) -> Vec<&str> {
    let begun = types.lines().filter(|line| line.starts_with("typedef struct ") && line.ends_with('{'));
    begun.filter_map(|line| line.split(' ').nth(2)).collect()
}

/// The names of the constants and enumerators in our types.
fn constants() -> Vec<String> {
    let text = types();
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let name = line.strip_prefix("#define ").or(line.starts_with("RKNN_").then_some(line))?;
            let name = name.split([' ', '=', ',']).next()?;
            name.starts_with("RKNN_").then(|| name.to_owned())
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A program that prints every size, offset and value.
fn printing_program() -> String {
    let mut body = String::new();
    for (name, fields) in STRUCTS {
        writeln!(body, "  printf(\"sizeof {name} %zu\\n\", sizeof({name}));").unwrap();
        for field in *fields {
            writeln!(body, "  printf(\"{name}.{field} %zu %zu\\n\", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));").unwrap();
        }
    }
    for name in constants() {
        writeln!(body, "  printf(\"{name} %lld\\n\", (long long){name});").unwrap();
    }
    let headers = headers();
    format!("#include <stddef.h>\n#include <stdio.h>\n{headers}int main(void) {{\n{body}  return 0;\n}}\n")
}

/// What a program is compiled against: a header of the types, and ours of what the vendor describes elsewhere, which takes
/// its types from the first.
fn headers() -> String {
    format!("#include HEADER\n#include \"{}\"\n", abi("custom_op.h").display())
}

fn cc(folder: &Path, source: &str, arguments: &[&str]) -> Result<Output> {
    let file = folder.join("probe.c");
    std::fs::write(&file, source)?;
    Command::new("cc")
        .current_dir(folder)
        .args(["-std=gnu11", "probe.c"])
        .args(arguments)
        .output()
        .context("no cc")
}

/// What the printing program says when it is compiled against `header`.
fn facts(folder: &Path, header: &Path) -> Result<String> {
    let define = format!("-DHEADER=\"{}\"", header.display());
    let built = cc(folder, &printing_program(), &[&define, "-o", "probe"])?;
    if !built.status.success() {
        bail!("{}", String::from_utf8_lossy(&built.stderr));
    }
    Ok(String::from_utf8(Command::new(folder.join("probe")).output()?.stdout)?)
}

/// The sizes and offsets as assertions, so that they can be checked for a target whose programs do not run here.
#[cfg(target_arch = "x86_64")]
fn asserting_program(printed: &str) -> String {
    let assertion = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        ["sizeof", name, size] => format!("_Static_assert(sizeof({name}) == {size}, \"{name}\");\n"),
        [field, offset, _] => {
            let (name, field) = field.split_once('.').unwrap();
            format!("_Static_assert(__builtin_offsetof({name}, {field}) == {offset}, \"{name}.{field}\");\n")
        }
        _ => String::new(),
    };
    headers() + &printed.lines().map(assertion).collect::<String>()
}

#[test]
fn every_struct_of_ours_is_compared() {
    assert_eq!(structs(&types()), STRUCTS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let longer = types() + "typedef struct rknn_new {\n    uint32_t n;\n} rknn_new;\n";
    assert_eq!(structs(&longer).last(), Some(&"rknn_new"));
}

#[test]
fn our_types_have_the_known_sizes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let facts = facts(folder.path(), &abi("types.h"))?;
    for known in [
        "sizeof rknn_tensor_attr 376",
        "sizeof rknn_tensor_mem 40",
        "sizeof rknn_input 32",
        "sizeof rknn_output 24",
        "sizeof rknn_init_extend 136",
        "sizeof rknn_run_extend 24",
        "sizeof rknn_mem_size 64",
        "sizeof rknn_input_range 33040",
        "sizeof rknn_custom_op 832",
        "rknn_tensor_attr.zp 352 4",
        "rknn_tensor_attr.h_stride 372 4",
        "RKNN_ERR_TARGET_PLATFORM_UNMATCH -13",
        "RKNN_QUERY_CURRENT_NATIVE_OUTPUT_ATTR 17",
    ] {
        ensure!(facts.lines().any(|line| line == known), "{known:?} is not among\n{facts}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the crate rknn-sys-rs, which `cargo fetch` brings"]
fn sizes_offsets_and_values_are_the_vendors() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ours = facts(folder.path(), &abi("types.h"))?;
    let theirs = facts(folder.path(), &vendor_header()?)?;
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        ensure!(ours == theirs, "ours: {ours}, the vendor's: {theirs}");
    }
    ensure!(ours == theirs && ours.lines().count() > 150, "{} lines", ours.lines().count());
    Ok(())
}

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "needs the crate rknn-sys-rs, which `cargo fetch` brings"]
fn sizes_and_offsets_are_the_vendors_on_32_bit_arm() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // 32-bit x86 with 64-bit numbers aligned as on ARM; `__arm__` chooses the handle's width in both headers.
    let target = ["-m32", "-malign-double", "-D__arm__", "-ffreestanding", "-fsyntax-only"];
    let check = |header: &Path, program: &str| -> Result<Output> {
        let define = format!("-DHEADER=\"{}\"", header.display());
        cc(folder.path(), program, &[&target[..], &[&define]].concat())
    };
    let bindings = include_str!("../src/bindings/pointer32.rs");
    let program = asserting_program(&facts_of_bindings(bindings));
    for header in [abi("types.h"), vendor_header()?] {
        let output = check(&header, &program)?;
        ensure!(output.status.success(), "{}: {}", header.display(), String::from_utf8_lossy(&output.stderr));
    }
    let wrong = program.replacen("== 24,", "== 25,", 1);
    ensure!(wrong != program && !check(&abi("types.h"), &wrong)?.status.success(), "nothing is asserted");
    Ok(())
}

/// Sizes and offsets that generated bindings assert, in the words of the printing program.
#[cfg(target_arch = "x86_64")]
fn facts_of_bindings(bindings: &str) -> String {
    let joined = bindings.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut facts = String::new();
    for statement in joined.split(';') {
        let Some(number) = statement.rsplit("- ").next().and_then(|end| end.strip_suffix("usize]")) else {
            continue;
        };
        if let Some((_, rest)) = statement.split_once("[\"Size of ") {
            writeln!(facts, "sizeof {} {number}", rest.split('"').next().unwrap()).unwrap();
        } else if let Some((_, rest)) = statement.split_once("[\"Offset of field: ") {
            let field = rest.split('"').next().unwrap().replace("::", ".").replace("type_", "type");
            writeln!(facts, "{field} {number} 0").unwrap();
        }
    }
    facts
}

#[test]
#[ignore = "needs the crate rknn-sys-rs, which `cargo fetch` brings"]
fn functions_have_the_vendors_signatures() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let functions = std::fs::read_to_string(abi("functions.h"))?;
    let again = |ours: &str| format!("#include \"{}\"\n{ours}", vendor_header().unwrap().display());
    let output = cc(folder.path(), &again(&functions), &["-fsyntax-only"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The compiler does object to a parameter of another width.
    let wrong = functions.replace("uint32_t n_inputs", "uint64_t n_inputs");
    let output = cc(folder.path(), &again(&wrong), &["-fsyntax-only"])?;
    ensure!(!output.status.success(), "a wrong signature passes");
    // And no declaration of ours is of a function that the vendor's header lacks.
    let vendor = std::fs::read_to_string(vendor_header()?)?;
    for name in functions.split(['*', ' ', '(']).filter(|word| word.starts_with("rknn_")) {
        if functions.contains(&format!("{name}(")) {
            ensure!(vendor.contains(&format!("{name}(")), "{name} is not the vendor's");
        }
    }
    Ok(())
}
