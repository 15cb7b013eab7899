use super::*;

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
