//! Rules about Rust sources: which names may stand where, and what must be said.
//! They look at words outside of strings and comments; types are the compiler's business.

use super::{File, Tree, Violation};
use crate::ignored;
use crate::rust_source::{Line, has_word, split};

type Rule = fn(&Tree) -> Vec<Violation>;

/// The rules of this file, by the name they are reported under.
pub const RULES: &[(&str, Rule)] = &[
    ("tch stands in train-host/src/train only", tch_stays_in_train),
    ("engine types never leave their backend file", engines_stay_in_backend),
    ("unsafe stands where it may, with its reason", unsafe_is_rare),
    ("every module says what it is for", modules_have_headers),
    ("ignored tests name what they need", ignored_tests_say_why),
    ("nothing is left to be written", nothing_unwritten),
    ("public functions take no bare booleans", no_boolean_parameters),
];

const ENGINE_CRATES: [&str; 8] = [
    "tract_onnx",
    "tract_onnx_opl",
    "tract_core",
    "tract_hir",
    "tract_data",
    "tract_linalg",
    "tract_nnef",
    "ndarray",
];

fn tch_stays_in_train(tree: &Tree) -> Vec<Violation> {
    let elsewhere = tree.rust_files().filter(|file| !file.path.starts_with("train-host/src/train/"));
    each_line(elsewhere, |line| {
        let name = ["tch", "torch_sys"].into_iter().find(|name| has_word(&line.code, name))?;
        Some(format!("{name} is used outside of train-host/src/train"))
    })
}

fn engines_stay_in_backend(tree: &Tree) -> Vec<Violation> {
    // The sdk's integration tests may write ONNX models with tract's protobuf types: they ship nothing.
    let mut violations = names_stay(tree, &ENGINE_CRATES, &["sdk/src/backend/tract", "sdk/tests/"]);
    // The stand-in plays the runtime, so it has the runtime's types.
    let npu = ["sdk/src/backend/rknn/", "sdk/rknn-sys/", "sdk/tests/rknn", "tests/stand-in/"];
    violations.extend(names_stay(tree, &["rknn_sys"], &npu));
    violations
}

/// Uses of `names` in files whose path begins with none of `places`.
fn names_stay(tree: &Tree, names: &[&str], places: &[&str]) -> Vec<Violation> {
    let elsewhere = tree.rust_files().filter(|file| !places.iter().any(|start| file.path.starts_with(start)));
    each_line(elsewhere, |line| {
        let name = names.iter().find(|name| has_word(&line.code, name))?;
        Some(format!("{name} is used outside of {}", places[0]))
    })
}

fn unsafe_is_rare(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust_files() {
        let lines = split(&file.text);
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| has_word(&line.code, "unsafe")) {
            if !may_be_unsafe(&file.path) {
                violations.push(at_line(file, at, "unsafe is not allowed in this file"));
            } else if !is_generated(&file.path) && !has_reason(&lines, at) && !line.code.contains("extern") {
                violations.push(at_line(file, at, "unsafe without a SAFETY comment"));
            }
        }
    }
    violations
}

fn modules_have_headers(tree: &Tree) -> Vec<Violation> {
    // A `tests.rs` belongs to the module it lies beside, whose header speaks for both.
    let modules = tree.rust_files().filter(|file| !file.path.ends_with("/tests.rs"));
    let bare = modules.filter(|file| !file.text.starts_with("//! "));
    bare.map(|file| Violation::new(&file.path, "begins with no //! lines that say what it is for")).collect()
}

fn ignored_tests_say_why(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust_files() {
        for test in ignored::find(&file.path, &file.text) {
            if !ignored::is_understood(&test.reason) {
                let message =
                    format!("{} is ignored for \"{}\": name a known need", test.function, test.reason);
                violations.push(Violation::new(&file.path, message));
            }
        }
    }
    violations
}

fn nothing_unwritten(tree: &Tree) -> Vec<Violation> {
    each_line(tree.rust_files(), |line| {
        let found = ["todo!", "unimplemented!", "dbg!"].into_iter().find(|name| line.code.contains(name));
        let macros = found.map(|name| format!("{name} is left in the code"));
        macros.or_else(|| line.comment.contains("FIXME").then(|| "FIXME is left in a comment".to_owned()))
    })
}

fn no_boolean_parameters(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust_files() {
        let lines = split(&file.text);
        for at in (0..lines.len()).filter(|&at| is_public_function(&lines[at].code)) {
            let parameters = parameters(&lines[at..]);
            if [": bool", "Option<bool>"].iter().any(|bare| parameters.contains(bare)) {
                violations.push(at_line(file, at, "a public function takes a bool: give it an enum"));
            }
        }
    }
    violations
}

fn each_line<'a>(
    files: impl Iterator<Item = &'a File>,
    judge: impl Fn(&Line) -> Option<String>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        for (at, line) in split(&file.text).iter().enumerate() {
            violations.extend(judge(line).map(|message| at_line(file, at, message)));
        }
    }
    violations
}

fn at_line(file: &File, index: usize, message: impl Into<String>) -> Violation {
    Violation::new(format!("{}:{}", file.path, index + 1), message)
}

/// The RKNN binding, files named `ffi.rs`, SIMD kernels and the stand-in library of the tests.
fn may_be_unsafe(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.starts_with("sdk/rknn-sys/")
        || path.starts_with("tests/stand-in/")
        || path.contains("/simd/")
        || matches!(name, "ffi.rs" | "simd.rs")
}

/// Whether a file is written by `cargo xtask codegen`.
fn is_generated(path: &str) -> bool {
    path.starts_with("sdk/rknn-sys/src/bindings/")
}

/// Whether a SAFETY comment stands on the line or in the comments right above it.
fn has_reason(lines: &[Line], at: usize) -> bool {
    let says_why = |line: &Line| line.comment.contains("SAFETY") || line.comment.contains("# Safety");
    let above = lines[..at].iter().rev().take_while(|line| {
        let code = line.code.trim();
        code.is_empty() && !line.comment.is_empty() || code.starts_with("#[")
    });
    says_why(&lines[at]) || above.into_iter().any(says_why)
}

fn is_public_function(code: &str) -> bool {
    let code = code.trim_start();
    code.starts_with("pub fn ") || code.starts_with("pub const fn ")
}

/// The text from a function's name to its body or return type.
fn parameters(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.code);
        text.push('\n');
        if line.code.contains(['{', ';']) {
            break;
        }
    }
    let end = text.rfind("->").or_else(|| text.find('{')).unwrap_or(text.len());
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, text: &str) -> Tree {
        Tree::of(&[(path, text)])
    }

    #[test]
    fn tch_outside_of_train_is_found() {
        assert_eq!(tch_stays_in_train(&one("train-host/src/fuse.rs", "use tch::Tensor;")).len(), 1);
        assert_eq!(tch_stays_in_train(&one("train-host/src/train/step.rs", "use tch::Tensor;")), []);
        assert_eq!(tch_stays_in_train(&one("train-host/src/fuse.rs", "// tch\nlet x = \"tch\";")), []);
    }

    #[test]
    fn tract_outside_of_its_backend_is_found() {
        assert_eq!(
            engines_stay_in_backend(&one("sdk/src/decode/mod.rs", "use tract_onnx::prelude::*;")).len(),
            1
        );
        assert_eq!(
            engines_stay_in_backend(&one("sdk/src/backend/tract.rs", "use tract_onnx::prelude::*;")),
            []
        );
        assert_eq!(engines_stay_in_backend(&one("sdk/src/lib.rs", "use backend::tract::TractSession;")), []);
        assert_eq!(engines_stay_in_backend(&one("sdk/src/detector.rs", "use rknn_sys::Library;")).len(), 1);
        assert_eq!(
            engines_stay_in_backend(&one("sdk/src/backend/rknn/ffi.rs", "use rknn_sys::Library;")),
            []
        );
    }

    #[test]
    fn unsafe_needs_a_place_and_a_reason() {
        assert_eq!(unsafe_is_rare(&one("sdk/src/frame.rs", "// SAFETY: no\nunsafe { f() }")).len(), 1);
        assert_eq!(unsafe_is_rare(&one("sdk/src/backend/ffi.rs", "unsafe { f() }")).len(), 1);
        assert_eq!(
            unsafe_is_rare(&one("sdk/src/backend/ffi.rs", "// SAFETY: alive\n#[x]\nunsafe { f() }")),
            []
        );
        assert_eq!(
            unsafe_is_rare(&one("sdk/src/frame.rs", "// unsafe\n\"unsafe\"; #![forbid(unsafe_code)]")),
            []
        );
    }

    #[test]
    fn generated_code_gives_no_reasons() {
        let code = "unsafe { f() }";
        assert_eq!(unsafe_is_rare(&one("sdk/rknn-sys/src/bindings/pointer64.rs", code)), []);
        assert_eq!(unsafe_is_rare(&one("sdk/rknn-sys/src/library.rs", code)).len(), 1);
    }

    #[test]
    fn a_module_without_a_header_is_found() {
        assert_eq!(modules_have_headers(&one("sdk/src/x.rs", "use std::fmt;")).len(), 1);
        assert_eq!(modules_have_headers(&one("sdk/src/x.rs", "//! Formats.\nuse std::fmt;")), []);
        assert_eq!(modules_have_headers(&one("sdk/src/x/tests.rs", "use super::*;")), []);
    }

    #[test]
    fn an_ignored_test_must_name_a_known_need() {
        let silent = "#[test]\n#[ignore]\nfn a() {}";
        let vague = "#[test]\n#[ignore = \"slow\"]\nfn a() {}";
        let sound = "#[test]\n#[ignore = \"needs ../shared/data (BCCD)\"]\nfn a() {}";
        assert_eq!(ignored_tests_say_why(&one("sdk/src/x.rs", silent)).len(), 1);
        assert_eq!(ignored_tests_say_why(&one("sdk/src/x.rs", vague)).len(), 1);
        assert_eq!(ignored_tests_say_why(&one("sdk/src/x.rs", sound)), []);
    }

    #[test]
    fn code_left_to_be_written_is_found() {
        assert_eq!(nothing_unwritten(&one("a.rs", "fn f() { todo!() }")).len(), 1);
        assert_eq!(nothing_unwritten(&one("a.rs", "// FIXME later")).len(), 1);
        assert_eq!(nothing_unwritten(&one("a.rs", "let s = \"todo!\";")), []);
    }

    #[test]
    fn a_public_boolean_parameter_is_found() {
        let wide = "pub fn f(\n    a: usize,\n    b: bool,\n) -> usize {";
        assert_eq!(no_boolean_parameters(&one("a.rs", wide)).len(), 1);
        assert_eq!(no_boolean_parameters(&one("a.rs", "pub fn f(a: Option<bool>) {}")).len(), 1);
        assert_eq!(no_boolean_parameters(&one("a.rs", "pub fn f(a: u8) -> Option<bool> { None }")), []);
        assert_eq!(
            no_boolean_parameters(&one("a.rs", "pub fn f(a: u8) -> bool { let b: bool = true; b }")),
            []
        );
        assert_eq!(no_boolean_parameters(&one("a.rs", "fn f(a: bool) {}")), []);
    }
}
