use proptest::prelude::*;

use super::*;

const SMALL: &str = "epochs: 2\nimgsz: 64\nseeds: [0, 1]\nvariants:\n  - {name: a, model: yolov5n}\n  \
                     - {name: b, model: repyolov5n, act: leaky_relu, block: qarepvgg}\n  \
                     - {name: c, model: own/c.yaml, baseline: true}\n";

fn plan(text: &str) -> Result<Plan> {
    parse(Path::new("/plans/x.yaml"), text.as_bytes(), Changes { data: Some("/d".into()), frames: None })
}

fn refused(text: &str) -> String {
    plan(text).unwrap_err().to_string()
}

#[test]
fn a_small_plan_takes_the_defaults() {
    let plan = plan(SMALL).unwrap();
    assert_eq!((plan.name.as_str(), plan.split, plan.batch, plan.nominal_batch), ("x", Split::Test, 16, 64));
    assert_eq!((plan.threads, plan.workers, plan.pictures, plan.bench_steps), (1, 1, 4, 32));
    assert_eq!(plan.baseline().name, "c");
    assert_eq!(plan.variants[1].act, Some(Activation::LeakyRelu));
    assert_eq!(plan.variants[1].block, Some(Block::Qarepvgg));
    assert_eq!(plan.timings(), [(500, 1), (5000, 1), (5000, 2), (5000, 3)]);
    let names: Vec<String> = plan.subjects().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["c", "a", "b"]);
}

#[test]
fn paths_start_from_the_plan_and_the_caller_may_change_them() {
    let text = format!("data: sets/d.yaml\n{SMALL}");
    let path = Path::new("/plans/x.yaml");
    let plan = parse(path, text.as_bytes(), Changes::default()).unwrap();
    assert_eq!(plan.data, Path::new("/plans/sets/d.yaml"));
    assert_eq!(plan.variants[2].model, "/plans/own/c.yaml");
    assert_eq!(plan.variants[0].model, "yolov5n");
    let changes = Changes { data: Some("/other".into()), frames: Some(vec![7]) };
    let changed = parse(path, text.as_bytes(), changes).unwrap();
    assert_eq!((changed.data.as_path(), &changed.frames[..]), (Path::new("/other"), &[7][..]));
}

#[test]
fn unknown_keys_are_named_with_their_line_and_what_was_meant() {
    let said = refused(&format!("{SMALL}epoch: 3\n"));
    assert!(
        said.contains("epoch") && said.contains("line") && said.contains("did you mean `epochs`?"),
        "{said}"
    );
    let said = refused(&SMALL.replace("model: yolov5n", "modle: yolov5n"));
    assert!(said.contains("did you mean `model`?"), "{said}");
    let said = refused(&SMALL.replace("leaky_relu", "leakyrelu"));
    assert!(said.contains("did you mean `leaky_relu`?"), "{said}");
    let said = refused(&SMALL.replace("leaky_relu", "swish"));
    assert!(said.contains("did you mean `silu`?"), "{said}");
    let said = refused(&format!("{SMALL}split: tset\n"));
    assert!(said.contains("write test"), "{said}");
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    for (from, to, named) in [
        ("seeds: [0, 1]", "seeds: [1, 1]", "seed 1 twice"),
        ("seeds: [0, 1]", "seeds: []", "0 seeds"),
        ("name: a", "name: B", "two variants"),
        ("name: a", "name: ../a", "../a"),
        ("name: a", "name: timing", "timing"),
        ("name: a", "name: Table.md", "Table.md"),
        ("name: a", "name: cost.json", "cost.json"),
        ("name: a", "name: map.svg", "map.svg"),
        ("name: a", "name: ''", "\"\""),
        (", baseline: true", "", "0 variants with"),
        ("model: yolov5n", "model: yolov5n, baseline: true", "2 variants with"),
        ("epochs: 2", "epochs: two", "epochs"),
        ("epochs: 2", "frames: [0]\nepochs: 2", "0 frames"),
        ("epochs: 2", "pictures: 100000\nepochs: 2", "100000 pictures"),
    ] {
        let said = refused(&SMALL.replace(from, to));
        assert!(said.contains(named) && said.contains("x.yaml"), "{to}: {said}");
    }
    let said = parse(Path::new("x.yaml"), SMALL.as_bytes(), Changes::default()).unwrap_err().to_string();
    assert!(said.contains("--data"), "{said}");
}

#[test]
fn sizes_out_of_range_are_named_as_the_plan_names_them() {
    for key in ["epochs", "imgsz", "batch", "nbs", "threads", "workers", "bench_steps"] {
        for value in ["0", "1000001"] {
            let kept: String =
                SMALL.lines().filter(|line| !line.starts_with(key)).map(|l| format!("{l}\n")).collect();
            let said = refused(&format!("{kept}{key}: {value}\n"));
            assert!(said.contains(&format!("{key}: {value}")) && said.contains("x.yaml"), "{said}");
            assert!(!said.contains("--") && !said.contains("args.json"), "{said}");
        }
    }
}

#[test]
fn the_shipped_plan_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/bccd.yaml");
    let plan = Plan::read(&path, Changes { data: Some("/bccd".into()), frames: None }).unwrap();
    let names: Vec<&str> = plan.variants.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["yolov5n", "repyolov5n", "repyolov5n-relu", "repyolov5n-qarepvgg"]);
    assert_eq!((plan.epochs, plan.imgsz, plan.batch, plan.seeds.len()), (100, 320, 16, 3));
    assert_eq!((plan.threads, plan.workers, plan.baseline, plan.split), (1, 1, 0, Split::Test));
    assert_eq!(plan.timings(), [(500, 1), (5000, 1), (5000, 2), (5000, 3)]);
}

#[test]
fn what_is_no_plan_is_told_in_plain_words() {
    let whole = |text: &[u8]| parse(Path::new("x.yaml"), text, Changes::default()).unwrap_err().to_string();
    assert!(whole(b"- 1\n").contains("expected a plan"), "{}", whole(b"- 1\n"));
    assert!(whole(b"epochs: \xff\n").contains("UTF-8"));
    let said = refused(&SMALL.replace("epochs: 2", "epochs: two"));
    assert!(said.contains("expected a whole number") && !said.contains("usize"), "{said}");
    let said = refused(&SMALL.replace("{name: a, model: yolov5n}", "yolov5n"));
    assert!(said.contains("expected a variant") && !said.contains("struct"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let said = Plan::read(folder.path(), Changes::default()).unwrap_err().to_string();
    assert!(said.contains("a folder") && said.contains("expected: a YAML file"), "{said}");
}

#[test]
fn aliases_do_not_make_a_small_plan_large() {
    let name = "x".repeat(500_000);
    let text = format!("variants: [&a {{name: {name}, model: b}}, {}]\n", "*a,".repeat(1000));
    assert!(refused(&text).contains("aliases"));
}

#[test]
fn distances_by_hand() {
    assert_eq!(distance("kitten", "sitting"), 3);
    assert_eq!((distance("", "ab"), distance("ab", ""), distance("ab", "ab")), (2, 2, 0));
    assert_eq!(nearest("xyz", ["epochs", "seeds"]), None);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}", keys in "(epochs|seeds|variants|frames|name)?[:\\[\\]{}&*a-c0-9 \n,.-]{0,60}") {
        let _ = plan(&text);
        let _ = plan(&format!("{SMALL}{keys}"));
    }
}
