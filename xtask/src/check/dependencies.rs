//! Rules about who depends on whom, over the graph that `cargo metadata` prints.
//! Development dependencies are not looked at: they never ship.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Violation;

type Rule = fn(&Dependencies) -> Vec<Violation>;

/// The rules of this file, by the name they are reported under.
pub const RULES: &[(&str, Rule)] = &[
    ("artifact depends on nothing heavy", artifact_is_light),
    ("boards depends on serde, toml and thiserror only", boards_are_data),
    ("the kernels know no engine", kernels_are_light),
    ("the sdk never depends on train-host or libtorch", sdk_ships_alone),
    ("what ships to devices cannot sign", private_keys_stay_home),
    ("xtask never depends on engines, the runtime or the trainer", xtask_is_lean),
    ("only train-host depends on tch, and optionally", tch_is_optional),
];

/// A direct dependency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Direct {
    name: String,
    optional: bool,
}

/// The dependency graph by package name.
#[derive(Debug, Clone, Default)]
pub struct Dependencies {
    /// Of the workspace's own packages, as their manifests declare them.
    direct: BTreeMap<String, BTreeSet<Direct>>,
    /// Of every package, as resolved.
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Dependencies {
    /// Reads the output of `cargo metadata`.
    ///
    /// # Errors
    /// When a field that every cargo prints is missing.
    pub fn of(metadata: &Value) -> Result<Self> {
        let packages = array(&metadata["packages"]).context("cargo metadata prints no packages")?;
        let nodes = array(&metadata["resolve"]["nodes"]).context("cargo metadata prints no graph")?;
        let members = array(&metadata["workspace_members"]).context("cargo metadata prints no members")?;
        let names: BTreeMap<_, _> =
            packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let name = |id: &Value| names.get(text(id)).copied().unwrap_or_default().to_owned();

        let mut graph = Self::default();
        for package in packages.iter().filter(|package| members.contains(&package["id"])) {
            let declared = array(&package["dependencies"]).context("a package without dependencies")?;
            let shipped = declared.iter().filter(|dependency| dependency["kind"] != "dev");
            let direct = shipped.map(|dependency| Direct {
                name: text(&dependency["name"]).to_owned(),
                optional: dependency["optional"] == true,
            });
            graph.direct.insert(name(&package["id"]), direct.collect());
        }
        for node in nodes {
            let dependencies = array(&node["deps"]).context("a node without deps")?;
            let shipped = dependencies.iter().filter(|dependency| is_shipped(dependency));
            let targets = shipped.map(|dependency| name(&dependency["pkg"]));
            graph.edges.entry(name(&node["id"])).or_default().extend(targets);
        }
        Ok(graph)
    }

    fn declared(&self, package: &str) -> impl Iterator<Item = &Direct> {
        self.direct.get(package).into_iter().flatten()
    }

    /// Everything that a package depends on, however far.
    fn closure(&self, package: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            for next in self.edges.get(name).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        seen
    }
}

fn artifact_is_light(graph: &Dependencies) -> Vec<Violation> {
    beyond(graph, "artifact", &["minisign-verify", "serde", "serde_json", "sha2", "thiserror"])
}

fn boards_are_data(graph: &Dependencies) -> Vec<Violation> {
    beyond(graph, "boards", &["serde", "thiserror", "toml"])
}

fn kernels_are_light(graph: &Dependencies) -> Vec<Violation> {
    beyond(graph, "kernels", &["bytemuck", "memmap2", "thiserror"])
}

fn sdk_ships_alone(graph: &Dependencies) -> Vec<Violation> {
    let mut violations =
        reaching(graph, "repedge", |name| matches!(name, "train-host" | "tch" | "torch-sys"));
    violations.extend(reaching(graph, "artifact", |name| name == "repedge"));
    violations
}

fn private_keys_stay_home(graph: &Dependencies) -> Vec<Violation> {
    reaching(graph, "examples", |name| matches!(name, "signing" | "minisign"))
}

fn xtask_is_lean(graph: &Dependencies) -> Vec<Violation> {
    let heavy = |name: &str| {
        matches!(name, "repedge" | "train-host" | "examples" | "tch" | "torch-sys")
            || name.starts_with("tract-")
    };
    reaching(graph, "xtask", heavy)
}

fn tch_is_optional(graph: &Dependencies) -> Vec<Violation> {
    let owners = graph.direct.iter().flat_map(|(owner, all)| all.iter().map(move |direct| (owner, direct)));
    let torch = owners.filter(|(_, direct)| matches!(direct.name.as_str(), "tch" | "torch-sys"));
    let wrong = torch.filter(|(owner, direct)| *owner != "train-host" || !direct.optional);
    wrong
        .map(|(owner, direct)| {
            Violation::new(owner, format!("depends on {} outside of feature torch", direct.name))
        })
        .collect()
}

/// Declared dependencies of `package` that are not in `allowed`.
fn beyond(graph: &Dependencies, package: &str, allowed: &[&str]) -> Vec<Violation> {
    let strange = graph.declared(package).filter(|direct| !allowed.contains(&direct.name.as_str()));
    strange.map(|direct| Violation::new(package, format!("depends on {}", direct.name))).collect()
}

/// Packages that `package` reaches and must not.
fn reaching(graph: &Dependencies, package: &str, is_forbidden: impl Fn(&str) -> bool) -> Vec<Violation> {
    let found = graph.closure(package).into_iter().filter(|name| is_forbidden(name));
    found.map(|name| Violation::new(package, format!("reaches {name}"))).collect()
}

fn is_shipped(dependency: &Value) -> bool {
    array(&dependency["dep_kinds"]).is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
}

fn array(value: &Value) -> Option<&Vec<Value>> {
    value.as_array()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A graph of workspace packages, each with its dependencies; `?` marks an optional one, `dev:` one of tests.
    fn graph(packages: &[(&str, &[&str])]) -> Dependencies {
        let all: BTreeSet<&str> = packages
            .iter()
            .flat_map(|(name, needs)| needs.iter().map(|need| plain(need)).chain([*name]))
            .collect();
        let needs_of = |name: &str| {
            packages.iter().find(|(found, _)| *found == name).map_or(&[][..], |(_, needs)| needs)
        };
        let kind = |need: &str| if need.starts_with("dev:") { json!("dev") } else { json!(null) };
        let package = |name: &&str| {
            let declared = needs_of(name).iter().map(
                |need| json!({"name": plain(need), "kind": kind(need), "optional": need.ends_with('?')}),
            );
            json!({"id": name, "name": name, "dependencies": declared.collect::<Vec<_>>()})
        };
        let node = |name: &&str| {
            let edges = needs_of(name)
                .iter()
                .map(|need| json!({"pkg": plain(need), "dep_kinds": [{"kind": kind(need)}]}));
            json!({"id": name, "deps": edges.collect::<Vec<_>>()})
        };
        Dependencies::of(&json!({
            "packages": all.iter().map(package).collect::<Vec<_>>(),
            "resolve": {"nodes": all.iter().map(node).collect::<Vec<_>>()},
            "workspace_members": packages.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    fn plain(need: &str) -> &str {
        need.trim_start_matches("dev:").trim_end_matches('?')
    }

    #[test]
    fn a_sound_workspace_passes_every_rule() {
        let sound = graph(&[
            ("artifact", &["serde", "sha2", "dev:proptest"]),
            ("boards", &["serde", "toml"]),
            ("repedge", &["artifact", "tract-onnx?"]),
            ("train-host", &["repedge", "tch?"]),
            ("xtask", &["clap", "zip", "dev:tempfile"]),
        ]);
        for (name, rule) in RULES {
            assert_eq!(rule(&sound), [], "{name}");
        }
    }

    #[test]
    fn a_heavy_artifact_is_named() {
        assert_eq!(artifact_is_light(&graph(&[("artifact", &["image"])])).len(), 1);
        assert_eq!(boards_are_data(&graph(&[("boards", &["repedge"])])).len(), 1);
        assert_eq!(kernels_are_light(&graph(&[("kernels", &["tract-linalg", "thiserror"])])).len(), 1);
    }

    #[test]
    fn an_sdk_that_reaches_libtorch_is_named() {
        let found = sdk_ships_alone(&graph(&[("repedge", &["helper"]), ("helper", &["torch-sys"])]));
        assert_eq!(found, [Violation::new("repedge", "reaches torch-sys")]);
    }

    #[test]
    fn an_example_that_could_sign_is_named() {
        let found = private_keys_stay_home(&graph(&[("examples", &["signing"]), ("signing", &["minisign"])]));
        assert_eq!(found.len(), 2);
        assert_eq!(private_keys_stay_home(&graph(&[("examples", &["dev:signing"])])), []);
    }

    #[test]
    fn an_xtask_that_reaches_an_engine_is_named() {
        let found = xtask_is_lean(&graph(&[("xtask", &["boards"]), ("boards", &["tract-onnx"])]));
        assert_eq!(found, [Violation::new("xtask", "reaches tract-onnx")]);
    }

    #[test]
    fn tch_elsewhere_or_always_is_named() {
        assert_eq!(tch_is_optional(&graph(&[("train-host", &["tch"])])).len(), 1);
        assert_eq!(tch_is_optional(&graph(&[("examples", &["tch?"])])).len(), 1);
    }
}
