use crate::{Backend, Board, Domain, Error, Method, Tier};

fn host() -> Board {
    Board::find("host").unwrap()
}

fn rk3588() -> Board {
    Board::find("rk3588").unwrap()
}

/// The check that a board fails once `change` was made to it, and its message.
fn failed(mut board: Board, change: impl FnOnce(&mut Board)) -> (&'static str, String) {
    let folder = board.name.clone();
    change(&mut board);
    match board.validate(&folder) {
        Err(error @ Error::Check { check, .. }) => (check, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn identity_is_checked() {
    assert_eq!(failed(host(), |board| board.name = "other".into()).0, "name is the folder");
    assert_eq!(failed(host(), |board| board.description = "a\nb".into()).0, "description is one line");
    assert_eq!(failed(host(), |board| board.soc = " ".into()).0, "the chip is named");
    assert_eq!(failed(host(), |board| board.backends = vec![]).0, "backends are listed once");
    let twice = |board: &mut Board| board.precisions = [&*board.precisions, &*board.precisions].concat();
    assert_eq!(failed(host(), twice).0, "precisions are listed once");
    assert_eq!(failed(host(), |board| board.backends.push(Backend::Rknn)).0, "an NPU has a backend");
    assert_eq!(
        failed(host(), |board| board.target = rk3588().target).0,
        "a board has a target, the host has none"
    );
    let shouting = Board { name: "HOST".into(), ..host() };
    assert!(matches!(shouting.validate("HOST"), Err(Error::Check { check: "name is plain", .. })));
}

#[test]
fn the_npu_is_checked() {
    let npu = |change: fn(&mut crate::Npu)| failed(rk3588(), |board| change(board.npu.as_mut().unwrap())).0;
    assert_eq!(npu(|npu| npu.chip = "RK3588".into()), "the chip is written as its compiler writes it");
    assert_eq!(npu(|npu| npu.cores = 0), "an NPU has cores");
}

#[test]
fn the_load_file_is_one_that_the_driver_has() {
    let load_file = |file: &'static str| {
        failed(rk3588(), |board| board.npu.as_mut().unwrap().load_file = Some(file.into()))
    };
    for file in ["sys/load", "/sys/../etc", "/sys/kernel/debug/rknpu", "/sys/kernel/debug/rknpu/load/x"] {
        let (check, error) = load_file(file);
        assert_eq!(check, "the load file is one of the NPU's driver", "{file}");
        assert!(
            error.contains("/sys/kernel/debug/rknpu/load") && error.contains("/proc/rknpu/load"),
            "{error}"
        );
    }
    let meant = "did you mean \"/sys/kernel/debug/rknpu/load\"?";
    assert!(load_file("/sys/kernel/debug/rknpu/lod").1.contains(meant));
    let mut board = rk3588();
    board.npu.as_mut().unwrap().load_file = Some("/proc/rknpu/load".into());
    board.validate("rk3588").unwrap();
}

#[test]
fn a_finding_without_a_neighbor_says_where_its_key_is_explained() {
    let (_, error) = failed(rk3588(), |board| board.npu.as_mut().unwrap().cores = 0);
    assert!(
        error.contains("expected: 1 to 16\n  help: change `npu.cores`: boards/src/schema says"),
        "{error}"
    );
}

#[test]
fn cameras_and_display_are_checked() {
    let check = "cameras have drivers and formats";
    assert_eq!(failed(rk3588(), |board| board.cameras[1].formats.clear()).0, check);
    assert_eq!(failed(rk3588(), |board| board.cameras[0].driver.clear()).0, check);
    let display = |board: &mut Board| board.display.as_mut().unwrap().drm_driver.clear();
    assert_eq!(failed(rk3588(), display).0, "the display has a driver");
}

#[test]
fn threads_are_checked() {
    let threads = |change: fn(&mut crate::schema::Threads)| {
        failed(rk3588(), |board| change(board.threads.as_mut().unwrap()))
    };
    let check = "stages run on cores of the board";
    let (failed, error) = threads(|threads| threads.sinks = vec![8]);
    assert_eq!(failed, check);
    assert!(error.contains("threads.sinks") && error.contains("0 to 7"), "{error}");
    assert_eq!(threads(|threads| threads.capture.clear()).0, check);
    assert_eq!(threads(|threads| threads.decode = vec![4, 4]).0, check);
    assert_eq!(threads(|threads| threads.cores = 0).0, check);
}

#[test]
fn clocks_are_checked() {
    let clock = |name: &'static str, change: fn(&mut crate::Clock)| {
        failed(rk3588(), |board| change(board.clocks.get_mut(name).unwrap()))
    };
    let (check, error) = clock("npu", |clock| clock.path = "/sys/clas/devfreq/fdab0000.npu".into());
    assert_eq!(check, "clock paths are where the kernel has them");
    assert!(error.contains("did you mean \"/sys/class/devfreq/fdab0000.npu\"?"), "{error}");
    let (_, error) = clock("npu", |clock| clock.path = "/sys/devices/system/cpu/cpufreq/policy0".into());
    assert!(error.contains("did you mean kind = \"cpufreq\"?"), "{error}");
    let unset = "clocks have a frequency or a governor that chooses one";
    assert_eq!(clock("npu", |clock| clock.frequency_mhz = None).0, unset);
    assert_eq!(clock("npu", |clock| clock.governor = None).0, unset);
    let (check, error) = clock("npu", |clock| {
        (clock.governor, clock.frequency_mhz) = (Some("perfomance".into()), None);
    });
    assert_eq!(check, unset);
    assert!(error.contains("did you mean \"performance\"?"), "{error}");
    let (check, error) = clock("npu", |clock| clock.frequency_mhz = Some(1_000_000_000));
    assert_eq!(check, "frequencies are in MHz");
    assert!(error.contains("did you mean 1000?"), "{error}");
}

#[test]
fn a_clock_is_a_folder_that_the_kernel_has() {
    let path = |name: &'static str, path: &'static str| {
        let (check, error) = failed(rk3588(), |board| board.clocks.get_mut(name).unwrap().path = path.into());
        assert_eq!(check, "clock paths are where the kernel has them", "{path}");
        error
    };
    let policy = "/sys/devices/system/cpu/cpufreq/policy";
    for (wrong, help) in [
        ("/sys/devices/system/cpu/cpufreq/policyX", "`ls /sys/devices/system/cpu/cpufreq` on the board"),
        (policy, "`ls /sys/devices/system/cpu/cpufreq` on the board"),
        ("/sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "cpufreq/policy0\"?"),
        ("/sys/devices/system/cpu/cpufrq/policy0", "cpufreq/policy0\"?"),
        ("/sys/kernel/debug/clk/armclk", "kind = \"clk\"?"),
    ] {
        let error = path("cpu0", wrong);
        assert!(error.contains(help) && error.contains(&format!("{policy}N")), "{error}");
    }
    for (wrong, help) in [
        ("/sys/class/devfreq/fdab0000.npu/governor", "did you mean \"/sys/class/devfreq/fdab0000.npu\"?"),
        ("/sys/class/devfreq/", "`ls /sys/class/devfreq` on the board"),
        ("/sys/class/devfreq/..", "`ls /sys/class/devfreq` on the board"),
        ("/sys/class/devfreq/dmc/../../x", "did you mean \"/sys/class/devfreq/dmc\"?"),
    ] {
        let error = path("npu", wrong);
        assert!(error.contains(help) && error.contains("/sys/class/devfreq/NAME"), "{error}");
    }
}

#[test]
fn a_clock_drives_what_its_path_says() {
    let domain = |name: &'static str, domain| {
        failed(rk3588(), |board| board.clocks.get_mut(name).unwrap().domain = domain)
    };
    for (name, wrong, expected) in [
        ("npu", Domain::Ddr, "expected: domain = \"npu\"\n"),
        ("npu", Domain::Cpu, "expected: domain = \"npu\"\n"),
        ("ddr", Domain::Npu, "expected: domain = \"ddr\"\n"),
        ("cpu0", Domain::Npu, "expected: domain = \"cpu\"\n"),
    ] {
        let (check, error) = domain(name, wrong);
        assert_eq!(check, "clocks drive what their path says");
        let found = format!("domain = \"{}\" with path", format!("{wrong:?}").to_lowercase());
        assert!(error.contains(expected) && error.contains(&found), "{error}");
    }
    let device = |domain, path: &'static str| {
        let mut board = rk3588();
        let clock = board.clocks.get_mut("npu").unwrap();
        (clock.domain, clock.path) = (domain, path.into());
        board.validate("rk3588")
    };
    device(Domain::Npu, "/sys/class/devfreq/devfreq0").unwrap();
    device(Domain::Ddr, "/sys/class/devfreq/devfreq0").unwrap();
    device(Domain::Cpu, "/sys/class/devfreq/devfreq0").unwrap_err();
}

#[test]
fn budgets_are_checked() {
    let budget = |change: fn(&mut crate::Budget)| failed(rk3588(), |board| change(&mut board.budgets[0])).0;
    let fits = "budgets are for engines and precisions of the board";
    assert_eq!(budget(|budget| budget.precision = crate::Precision::Fp32), fits);
    assert_eq!(budget(|budget| budget.npu_cores = Some(4)), fits);
    assert_eq!(budget(|budget| budget.npu_cores = None), fits);
    assert_eq!(budget(|budget| budget.backend = Backend::Tract), fits);
    assert_eq!(budget(|budget| budget.inference_fps = 0.0), "budgets are plausible");
    assert_eq!(budget(|budget| budget.inference_fps = f64::NAN), "budgets are plausible");
    assert_eq!(budget(|budget| budget.input_px = 641), "budgets are plausible");
    assert_eq!(budget(|budget| budget.models.clear()), "budgets are plausible");
}

#[test]
fn a_figure_that_could_never_apply_is_refused() {
    let (check, error) = failed(rk3588(), |board| {
        let relu = crate::Budget {
            activation: crate::Activation::Relu,
            inference_fps: 66.1,
            ..board.budget("yolov5s", 640, crate::Precision::Int8, Backend::Rknn).unwrap().clone()
        };
        board.budgets.push(relu);
    });
    assert_eq!(check, "a model has one budget");
    assert!(error.contains("yolov5s at 640 px") && error.contains("keep the slowest"), "{error}");
    // Another size is another figure.
    let mut board = rk3588();
    board.budgets.push(crate::Budget { input_px: 320, ..board.budgets[0].clone() });
    board.validate("rk3588").unwrap();
}

#[test]
fn delivery_is_checked() {
    let target =
        |change: fn(&mut crate::Target)| failed(rk3588(), |board| change(board.target.as_mut().unwrap()));
    let (check, error) = target(|target| target.triple = "aarch64-unknown-linux-gun".into());
    assert_eq!(check, "the target is for the board's processor");
    assert!(error.contains("did you mean \"aarch64-unknown-linux-gnu\"?"), "{error}");
    let floor = "a glibc floor stands with a glibc target";
    assert_eq!(target(|target| target.glibc_floor = None).0, floor);
    assert_eq!(target(|target| target.glibc_floor = Some(crate::Version::new(2, 5))).0, floor);
    let linker = target(|target| target.vendor_linker = Some("cc".into())).0;
    assert_eq!(linker, "who needs a vendor's linker is experimental");
    assert_eq!(Board::find("rv1106").unwrap().tier, Tier::Experimental);
}

#[test]
fn flashing_is_checked() {
    let twice = |board: &mut Board| board.flash.methods.push(Method::Ssh);
    assert_eq!(failed(rk3588(), twice).0, "flash methods are listed once");
    assert_eq!(failed(rk3588(), |board| board.flash.usb = None).0, "flashing over USB needs its numbers");
    assert_eq!(failed(rk3588(), |board| board.flash.layout = None).0, "writing disks needs a layout");
    let layout = |change: fn(&mut crate::Layout)| {
        failed(rk3588(), |board| change(board.flash.layout.as_mut().unwrap())).0
    };
    let apart = "boot loaders lie apart and before the partitions";
    assert_eq!(layout(|layout| layout.idbloader_sector = Some(1)), apart);
    assert_eq!(layout(|layout| layout.uboot_sector = Some(64)), apart);
    assert_eq!(layout(|layout| layout.boot_sector = 64), apart);
    assert_eq!(layout(|layout| layout.boot_mib = 0), apart);
    assert_eq!(layout(|layout| layout.boot_sector = u64::MAX), apart);
    assert_eq!(layout(|layout| layout.uboot_sector = Some(u64::MAX)), apart);
}

#[test]
fn an_image_that_nobody_can_make_is_no_way_of_flashing() {
    let (check, error) = failed(Board::find("rv1106").unwrap(), |board| {
        board.flash.methods.push(Method::Usb);
        board.flash.usb = rk3588().flash.usb;
    });
    assert_eq!(check, "writing disks needs a layout");
    assert!(
        error.contains("the method usb and no [flash.layout]") && error.contains("vendor's tool"),
        "{error}"
    );
}

#[test]
fn boards_survive_being_written_and_read() {
    for name in crate::names() {
        let board = Board::find(name).unwrap();
        let text = toml::to_string(&board).unwrap();
        assert_eq!(toml::from_str::<Board>(&text).unwrap(), board, "{name}");
    }
}
