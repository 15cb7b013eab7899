use std::fs;

use super::verdict::Verdict;
use super::*;
use crate::tree::{Content, Node, Tree};

/// Boots a guest without our programs, as far as `steps` bring it.
fn judged(steps: &str, time_limit_s: u32) -> Verdict {
    let text =
        format!("description = \"a test\"\ntime_limit_s = {time_limit_s}\nreport = \"report.json\"\n{steps}");
    let scenario = Scenario::parse(&text).unwrap();
    let packages = Packages::cached().unwrap().expect("`cargo xtask setup qemu` ran");
    let folder = tempfile::tempdir().unwrap();
    let root = rootfs::base(&packages).unwrap();
    let ended = Bench::in_memory(packages, &root, folder.path()).unwrap().run(&scenario).unwrap();
    verdict::judge(&scenario, &ended)
}

#[test]
#[ignore = "needs qemu-system-aarch64 of cargo xtask setup qemu"]
fn a_guest_says_what_it_did() {
    let verdict = judged(
        r#"
        [[step]]
        name = "a virtual camera appears"
        run = "modprobe vivid n_devs=2 && [ -c /dev/video0 ] && grep -q vivid /sys/class/video4linux/video0/name"
        [[step]]
        name = "a step that takes too long is killed"
        run = "sleep 1000"
        time_limit_s = 1
        exit = 137
        [[step]]
        name = "a report"
        run = 'echo "{\"verdict\": \"pass\", \"accuracy\": {\"verdict\": \"pass\"}}" >/tmp/report.json'
        send = ["/tmp/report.json"]
        "#,
        300,
    );
    assert_eq!(verdict.failures, Vec::<String>::new());
    assert_eq!(verdict.report.unwrap()["verdict"], "pass");
}

#[test]
#[ignore = "needs qemu-system-aarch64 of cargo xtask setup qemu"]
fn a_failing_report_on_a_full_disk_fails() {
    let verdict = judged(
        r#"
        [[step]]
        name = "the report finds no room"
        run = '''
        mkdir /tmp/full && mount -t tmpfs -o size=4k tmpfs /tmp/full
        echo "{\"verdict\": \"fail\", \"accuracy\": null}" >/tmp/report.json
        cat /bin/busybox >/tmp/full/report.json
        '''
        exit = 1
        send = ["/tmp/report.json", "/tmp/full/report-2.json"]
        "#,
        300,
    );
    let expected = ["the report's verdict is \"fail\"", "the report's accuracy's verdict is nothing"];
    assert_eq!(verdict.failures.len(), 2, "{:#?}", verdict.failures);
    for (failure, start) in verdict.failures.iter().zip(expected) {
        assert!(failure.starts_with(start), "{failure}");
    }
}

#[test]
#[ignore = "needs qemu-system-aarch64 of cargo xtask setup qemu"]
fn a_guest_whose_kernel_gives_up_fails() {
    let verdict = judged(
        r#"
        [[step]]
        name = "a panic"
        run = "echo c >/proc/sysrq-trigger"
        send = ["/tmp/report.json"]
        "#,
        300,
    );
    assert!(
        verdict.failures[0].contains("Kernel panic - not syncing: sysrq triggered crash"),
        "{:#?}",
        verdict.failures
    );
    assert!(verdict.failures.last().unwrap().contains("clean power-off"), "{:#?}", verdict.failures);
}

#[test]
#[ignore = "needs qemu-system-aarch64 of cargo xtask setup qemu"]
fn a_guest_that_hangs_is_ended() {
    let verdict = judged(
        r#"
        [[step]]
        name = "nothing"
        run = "sleep 100000"
        time_limit_s = 100000
        send = ["/tmp/report.json"]
        "#,
        20,
    );
    assert!(verdict.failures.last().unwrap().contains("ended after 20 s"), "{:#?}", verdict.failures);
}

/// All programs of a board, played: the self-test writes a report that passes.
const PROGRAMS: &str = r#"#!/bin/sh
while [ $# -gt 1 ]; do
    [ "$1" != --json ] || echo '{"verdict": "pass", "accuracy": {"verdict": "pass"}}' >"$2"
    shift
done
"#;

/// The package's own scripts.
const ACTIVATE: &str = include_str!("../../../examples/package/activate");
const RUN: &str = include_str!("../../../examples/package/run");

/// A package as `build-board` leaves it, of played programs.
fn package() -> Tree {
    let mut tree = Tree::default();
    let file = |text: &str, mode| Node::file(Content::Bytes(text.into()), mode);
    for (path, node) in [
        ("usr/lib/repedge/package/VERSION", file("0.1.0+git1.0\n", 0o644)),
        ("usr/lib/repedge/package/bin/board-programs", file(PROGRAMS, 0o755)),
        ("usr/lib/repedge/package/bin/camera-demo", Node::symlink("board-programs")),
        ("usr/lib/repedge/package/bin/detect-image", Node::symlink("board-programs")),
        ("usr/lib/repedge/package/bin/self-test", Node::symlink("board-programs")),
        ("usr/lib/systemd/system/repedge-camera-demo.service", file("[Unit]\n", 0o644)),
        ("usr/lib/repedge/package/activate", file(ACTIVATE, 0o755)),
        ("usr/lib/repedge/package/run", file(RUN, 0o755)),
    ] {
        tree.put(path, node).unwrap();
    }
    tree
}

#[test]
#[ignore = "needs qemu-system-aarch64 of cargo xtask setup qemu, and genimage, e2fsprogs and fakeroot"]
fn a_disk_image_boots_with_its_package_in_service_and_stays_as_it_was() {
    let (workspace, board) = (Workspace::find().unwrap(), Board::find(BOARD).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().join("built");
    // The played model is nothing that anybody could sign.
    let sources = Sources { allow_unsigned: true, ..image_sources(&built).unwrap() };
    package().write_to(&built.join("root")).unwrap();
    let image = image::build(&board, &sources, Some(&built.join("root")), &built).unwrap().image;
    let before = fs::read(&image).unwrap();

    let scenario = Scenario::read(&scenario_path(&workspace, "disk/in-service")).unwrap();
    let ended = Bench::from_disk(&board, &built, folder.path()).unwrap().run(&scenario).unwrap();
    assert_eq!(verdict::judge(&scenario, &ended).failures, Vec::<String>::new());
    assert!(fs::read(&image).unwrap() == before, "the guest's writes are in the image");
}

#[test]
fn every_scenario_of_the_workspace_can_be_read_and_ends() {
    let workspace = Workspace::find().unwrap();
    for folder in [SCENARIOS, ON_DISK, FAILING] {
        let found = scenarios(&workspace.join(folder)).unwrap();
        assert!(!found.is_empty(), "{folder} is empty");
        for scenario in found {
            assert!(scenario.time_limit_s <= 600, "{folder}: {} s", scenario.time_limit_s);
        }
    }
}
