use std::fs;

use serde_json::{Value, json};

use super::*;

/// Sources of crates, and what cargo says of them.
struct Fixture {
    folder: tempfile::TempDir,
    packages: Vec<Value>,
    nodes: Vec<Value>,
}

impl Fixture {
    /// The programs, which link `png` and `jpeg`, and are built and tested with others.
    fn new() -> Self {
        let mut fixture =
            Self { folder: tempfile::tempdir().unwrap(), packages: Vec::new(), nodes: Vec::new() };
        let kinds = [
            ("png", None),
            ("jpeg", None),
            ("derive", None),
            ("cc", Some("build")),
            ("proptest", Some("dev")),
        ];
        fixture.package("examples", json!({"license": "MIT"}), &kinds, &[]);
        let mit = "MIT License\nCopyright A\n\nDo what you want.\n";
        let ijg = json!({"license": "MIT AND IJG", "authors": ["B <b@example.invalid>"]});
        fixture.package("png", json!({"license": "MIT"}), &[("bits", None)], &[("LICENSE-MIT", mit)]);
        fixture.package("jpeg", ijg, &[("bits", Some("dev"))], &[]);
        // The same words, broken into lines otherwise, and one of its own that it names.
        let texts = [
            ("license.md", "MIT License Copyright A\r\nDo what you want."),
            ("TERMS", "Zlib\r\n"),
            ("README", "x"),
        ];
        fixture.package("bits", json!({"license": null, "license_file": "TERMS"}), &[], &texts);
        fixture.package("derive", json!({"license": "GPL-3.0"}), &[("quote", None)], &[]);
        for name in ["cc", "proptest", "quote"] {
            fixture.package(name, json!({"license": "X"}), &[], &[]);
        }
        fixture.packages[4]["targets"] = json!([{"kind": ["proc-macro"]}]);
        fixture
    }

    fn package(&mut self, name: &str, facts: Value, links: &[(&str, Option<&str>)], files: &[(&str, &str)]) {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        let mut package = json!({
            "id": name, "name": name, "version": "1.0.0", "license_file": null, "authors": [],
            "manifest_path": folder.join("Cargo.toml"), "targets": [{"kind": ["lib"]}],
        });
        package.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        self.packages.push(package);
        let links = links.iter().map(|(pkg, kind)| json!({"pkg": pkg, "dep_kinds": [{"kind": kind}]}));
        self.nodes.push(json!({"id": name, "deps": links.collect::<Vec<_>>()}));
    }

    fn text(&self) -> Result<String> {
        let metadata = json!({
            "packages": self.packages, "workspace_members": ["examples"], "resolve": {"nodes": self.nodes},
        });
        text(&serde_json::from_value(metadata).unwrap())
    }
}

#[test]
fn what_is_linked_is_listed_with_its_licenses() {
    let notice = Fixture::new().text().unwrap();
    let listed = notice.strip_prefix(HEAD).unwrap();
    let expected = format!(
        "bits 1.0.0: as its text says [1, 2]\n\
         jpeg 1.0.0, by B <b@example.invalid>: MIT AND IJG; its source brings no text of it\n\
         png 1.0.0: MIT [2]\n\
         {JPEG_GROUP}"
    );
    assert!(listed.starts_with(&expected), "{listed}");
    let texts = listed.strip_prefix(&expected).unwrap();
    assert!(
        texts.contains("\n[1]\n\nZlib\n\n")
            && texts.ends_with("[2]\n\nMIT License Copyright A\nDo what you want.\n")
    );
    assert!(!notice.contains("GPL") && !notice.contains("[3]"), "{notice}");
}

#[test]
fn neither_the_machine_nor_an_order_is_in_it() {
    let (first, mut other) = (Fixture::new(), Fixture::new());
    other.packages.reverse();
    other.nodes.reverse();
    let notice = first.text().unwrap();
    assert_eq!(other.text().unwrap(), notice);
    assert!(!notice.contains(first.folder.path().to_str().unwrap()));
}

#[test]
fn a_crate_without_a_license_is_refused() {
    let mut fixture = Fixture::new();
    fixture.packages[1]["license"] = Value::Null;
    fixture.text().unwrap();
    fixture.packages[2]["license"] = Value::Null;
    let error = fixture.text().unwrap_err().to_string();
    assert!(error.contains("jpeg 1.0.0 names no license"), "{error}");
}

#[test]
fn our_programs_name_what_they_hold() {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let notice = of(&Workspace::find().unwrap(), &triple, "examples/camera,examples/screen").unwrap();
    for name in ["tract-core", "zune-jpeg", "jpeg-encoder"] {
        assert!(notice.contains(&format!("\n{name} ")), "{name}");
    }
    assert!(notice.contains(JPEG_GROUP) && notice.contains("Apache License"));
    for own in ["repedge", "artifact", "examples"] {
        assert!(!notice.contains(&format!("\n{own} 0.")), "{own} is ours");
    }
}
