//! `camera-demo` as a user and as systemd run it.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../../sdk/tests/common/mod.rs"]
mod common;
mod signed;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use repedge::{Image, frame};
use serde_json::Value;
use signed::Scene;

fn command(scene: &Scene, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera-demo"));
    command.args(["--state", "state"]).args(args).current_dir(scene.folder());
    command
}

fn run(scene: &Scene, args: &[&str]) -> Output {
    command(scene, args).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder of a red picture, a broken file, and a black picture.
fn pictures(scene: &Scene) {
    for (name, color) in [("a.png", [255, 0, 0]), ("c.png", [0, 0, 0])] {
        frame::write_png(&scene.path("pictures").join(name), &Image::filled(64, 64, color)).unwrap();
    }
    std::fs::write(scene.path("pictures/b.png"), "no picture").unwrap();
}

#[test]
fn a_folder_is_played_once_and_broken_files_are_passed_over() {
    let scene = Scene::new(&[]);
    pictures(&scene);
    let output = run(&scene, &["--bundle", "squares.bundle", "--keys", "keys", "--images", "pictures"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("skipped: pictures/b.png"));
    let lines = lines(&output);
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["frame"], &lines[1]["frame"]), (&0.into(), &1.into()));
    assert_eq!(lines[0]["image"], "pictures/a.png");
    assert_eq!(lines[0]["detections"].as_array().unwrap().len(), 4);
    assert_eq!(lines[0]["detections"][0]["name"], "red");
    assert!(lines[0]["times"]["inference_us"].is_u64());
    assert_eq!(lines[1]["detections"], serde_json::json!([]));
}

#[test]
fn the_bundles_own_pictures_are_played_over_and_over() {
    let scene = Scene::new(&signed::right());
    let lines = lines(&run(&scene, &["--bundle", "squares.bundle", "--keys", "keys", "--frames", "3"]));
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["image"] == "square.png"));
    assert!(lines.iter().all(|line| line["detections"][0]["name"] == "red"));
    let none = Scene::new(&[]);
    let said = complaint(&run(&none, &["--bundle", "squares.bundle", "--keys", "keys"]), 1);
    assert!(said.contains("nothing to play") && said.contains("--images"), "{said}");
}

#[test]
fn settings_come_from_a_file_and_arguments_override_them() {
    let scene = Scene::new(&signed::right());
    pictures(&scene);
    let settings =
        "bundle = \"squares.bundle\"\nimages = \"pictures\"\nkeys = \"keys\"\njson = \"out.jsonl\"\n";
    std::fs::write(scene.path("demo.toml"), settings).unwrap();
    assert_eq!(lines(&run(&scene, &["--config", "demo.toml"])).len(), 0);
    let written = || std::fs::read_to_string(scene.path("out.jsonl")).unwrap();
    assert_eq!(written().lines().count(), 2);
    // As a watchdog starts it again.
    assert_eq!(lines(&run(&scene, &["--config", "demo.toml"])).len(), 0);
    assert_eq!(written().lines().count(), 4, "what was found before is still there");
    let over = ["--config", "demo.toml", "--json", "-", "--repeat", "--frames", "5", "--confidence", "1"];
    let over = lines(&run(&scene, &over));
    assert_eq!(over.len(), 5);
    assert!(over.iter().all(|line| line["detections"] == serde_json::json!([])));
    std::fs::write(scene.path("demo.toml"), "parcel = \"squares.bundle\"\n").unwrap();
    let said = complaint(&run(&scene, &["--config", "demo.toml"]), 1);
    assert!(said.contains("demo.toml") && said.contains("parcel"), "{said}");
    assert!(complaint(&run(&scene, &[]), 1).contains("no bundle"));
    assert!(complaint(&run(&scene, &["--frobnicate"]), 2).contains("--frobnicate"));
}

#[test]
fn the_packaged_settings_are_understood() {
    let scene = Scene::new(&signed::right());
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/camera-demo/camera-demo.toml");
    let files = ["--config", packaged, "--bundle", "squares.bundle", "--keys", "keys", "--board", "host"];
    // Another program of this machine may have the page's port.
    let once = ["--pattern", "96x64", "--web=127.0.0.1:0", "--frames", "1", "--json", "-"];
    let output = run(&scene, &[&files[..], &once].concat());
    assert_eq!(lines(&output).len(), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("http://127.0.0.1:"), "the page is on");
    let said: toml::Table = toml::from_str(&std::fs::read_to_string(packaged).unwrap()).unwrap();
    assert_eq!(said["web"]["listen"].as_str(), Some("127.0.0.1:8080"));
    assert!(!said.contains_key("interval_ms"), "a camera would be slowed down");
}

/// Lines such as `# rga = "auto"` and `# [mqtt]` as if somebody had made them count; others are for people.
fn uncommented(text: &str) -> String {
    let is_setting = |line: &str| {
        let name = line.split(" = ").next().unwrap_or_default();
        let is_name = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        line.starts_with('[') || (line.contains(" = ") && is_name(name))
    };
    let count =
        |line: &'_ str| line.strip_prefix("# ").filter(|line| is_setting(line)).unwrap_or(line).to_owned();
    text.lines().map(count).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_packaged_settings_name_engine_score_and_display() {
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/camera-demo/camera-demo.toml");
    let said: toml::Table =
        toml::from_str(&uncommented(&std::fs::read_to_string(packaged).unwrap())).unwrap();
    assert_eq!(said["backend"].as_str(), Some("auto"));
    assert!(said["confidence"].as_float().is_some());
    assert_eq!(said["screen"]["card"].as_str(), Some("/dev/dri/card0"));
}

#[test]
fn a_page_that_only_the_settings_ask_for_is_left_out_where_its_address_is_taken() {
    let scene = Scene::new(&signed::right());
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::fs::write(scene.path("page.toml"), format!("[web]\nlisten = \"{address}\"\n")).unwrap();
    let args = ["--bundle", "squares.bundle", "--keys", "keys", "--pattern", "96x64", "--frames", "1"];
    let output = run(&scene, &[&args[..], &["--config", "page.toml"]].concat());
    assert_eq!(lines(&output).len(), 1);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("going on without a page on {address}")), "{said}");
    complaint(&run(&scene, &[&args[..], &[&format!("--web={address}")]].concat()), 1);
}

#[test]
fn a_file_that_cannot_be_opened_at_start_is_named_with_what_to_do() {
    let scene = Scene::new(&signed::right());
    let mqtt =
        "[mqtt]\nbroker = '127.0.0.1:1'\ntopic = 't'\nuser = 'demo'\npassword_file = 'nowhere/secret'\n";
    std::fs::write(scene.path("mqtt.toml"), mqtt).unwrap();
    let args = ["--bundle", "squares.bundle", "--keys", "keys", "--frames", "1"];
    for (more, file) in [
        (["--json", "nowhere/out.jsonl"], "nowhere/out.jsonl"),
        (["--config", "mqtt.toml"], "nowhere/secret"),
    ] {
        let said = complaint(&run(&scene, &[&args[..], &more].concat()), 1);
        assert!(said.contains("error: ") && said.contains(&format!("{file}: No such file")), "{said}");
        assert!(said.contains("help: check that the path exists"), "{said}");
    }
}

#[test]
fn a_folder_for_videos_that_cannot_be_made_costs_the_videos_only() {
    let scene = Scene::new(&signed::right());
    std::fs::write(scene.path("video"), "in its way").unwrap();
    let args = ["--bundle", "squares.bundle", "--keys", "keys", "--frames", "3", "--record", "video"];
    let output = run(&scene, &args);
    assert_eq!(lines(&output).len(), 3);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("going on without a sink: recording to video: video: "), "{said}");
    assert_eq!(said.matches("going on").count(), 1, "it is said once");
    // Sizes that do not fit together mend in no time.
    let settings = "[record]\nfolder = \"video\"\nsegment_mb = 0\n";
    std::fs::write(scene.path("record.toml"), settings).unwrap();
    let refused = run(&scene, &[&args[..6], &["--config", "record.toml"]].concat());
    assert!(complaint(&refused, 1).contains("segment_mb"));
}

#[test]
fn an_unsigned_bundle_needs_to_be_allowed() {
    let scene = Scene::new(&[]);
    pictures(&scene);
    common::write_bundle(&scene.path("unsigned.bundle"));
    let args = ["--bundle", "unsigned.bundle", "--images", "pictures"];
    let said = complaint(&run(&scene, &[&args[..], &["--keys", "keys"]].concat()), 1);
    assert!(said.contains("unsigned.bundle: an unsigned bundle"), "{said}");
    assert_eq!(lines(&run(&scene, &[&args[..], &["--allow-unsigned"]].concat())).len(), 2);
}

/// The demo, told `more`, under a systemd that listens at `socket` and wants to hear from it often.
fn under_systemd(scene: &Scene, more: &[&str]) -> (Command, UnixDatagram) {
    let socket = UnixDatagram::bind(scene.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let args = ["--bundle", "squares.bundle", "--keys", "keys"];
    let mut command = command(scene, &[&args[..], more].concat());
    command.env("NOTIFY_SOCKET", scene.path("notify")).env("WATCHDOG_USEC", "20000");
    (command, socket)
}

/// The same, running, with an hour from one frame to the next.
fn service(scene: &Scene, more: &[&str]) -> (Child, UnixDatagram) {
    let (mut command, socket) = under_systemd(scene, &[&["--interval-ms", "3600000"], more].concat());
    (command.stdout(Stdio::piped()).spawn().unwrap(), socket)
}

fn hear(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 1024];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

fn terminate(child: &Child) {
    let terminated = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(terminated.success());
}

#[test]
fn systemd_is_told_and_sigterm_ends_it_cleanly() {
    let scene = Scene::new(&signed::right());
    let (mut child, socket) = service(&scene, &[]);
    let ready = hear(&socket);
    assert!(ready.contains("READY=1") && ready.contains("STATUS=squares on tract: 1 picture"), "{ready}");
    assert!(hear(&socket).contains("WATCHDOG=1"));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["frame"], 0);
    // An hour of waiting for the next frame is cut short.
    terminate(&child);
    while !hear(&socket).contains("STOPPING=1") {}
    assert_eq!(child.wait().unwrap().code(), Some(0));
    line.clear();
    assert_eq!(stdout.read_line(&mut line).unwrap(), 0, "a frame after the end was asked for: {line}");
}

/// Hears all that was told until now, which must be that all is well.
fn hear_watchdog(socket: &UnixDatagram) {
    socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 1024];
    while let Ok(length) = socket.recv(&mut bytes) {
        assert_eq!(&bytes[..length], b"WATCHDOG=1\n");
    }
    socket.set_nonblocking(false).unwrap();
}

#[test]
fn a_stage_that_hangs_lets_the_watchdog_starve() {
    let scene = Scene::new(&[]);
    for name in ["a.png", "b.png"] {
        let path = scene.path("pictures").join(name);
        frame::write_png(&path, &Image::filled(64, 64, [255, 0, 0])).unwrap();
    }
    let play = ["--images", "pictures", "--repeat", "--json", "/dev/null"];
    let (mut command, socket) = under_systemd(&scene, &play);
    let stderr = std::fs::File::create(scene.path("said")).unwrap();
    let mut child = command.stderr(stderr).spawn().unwrap();
    assert!(hear(&socket).contains("READY=1"));
    for _ in 0..3 {
        assert!(hear(&socket).contains("WATCHDOG=1"), "while pictures are played");
    }
    // A pipe that nobody writes: whoever opens it to read the next picture waits for ever.
    let pipe = scene.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, scene.path("pictures/b.png")).unwrap();
    let said = || std::fs::read_to_string(scene.path("said")).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !said().contains("note: capture has not moved for") && Instant::now() < end {
        // Were nobody to listen, the demo would wait for room.
        hear_watchdog(&socket);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(said().contains("note: capture has not moved for"), "{}", said());
    hear_watchdog(&socket);
    // Asked to end, it looks at its stages for two seconds more, until it leaves the one that hangs. Had it told systemd on any of
    // these looks, or since it said so, that all is well, this would be heard first.
    terminate(&child);
    assert_eq!(hear(&socket), "STOPPING=1\n", "{}", said());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(said().contains("note: capture did not end in time and was left"), "{}", said());
}

/// The cores that a thread may run on, from its `status` in /proc.
fn cores(status: &str) -> &str {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim()
}

/// Name and cores of each thread of a process that a sink has started.
fn threads_of_sinks(process: u32) -> BTreeMap<String, String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // Those that have ended meanwhile have no files any more.
    let tasks = tasks.filter_map(|task| {
        let read = |name| std::fs::read_to_string(task.as_ref().ok()?.path().join(name)).ok();
        Some((read("comm")?.trim().to_owned(), cores(&read("status")?).to_owned()))
    });
    tasks.filter(|(name, _)| name.starts_with("repedge-")).collect()
}

#[test]
fn threads_of_sinks_run_on_the_cores_that_the_board_has_for_them() {
    let scene = Scene::new(&signed::right());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let first = cores(&status).split([',', '-']).next().unwrap();
    let core: usize = first.parse().unwrap();
    let mut board = serde_json::to_value(boards::Board::find("host").unwrap()).unwrap();
    board["threads"] = serde_json::json!({
        "cores": core + 1, "capture": [core], "preprocess": [core], "inference": [core], "decode": [core], "sinks": [core],
    });
    std::fs::write(scene.path("board.json"), board.to_string()).unwrap();
    let sinks = "[web]\nlisten = '127.0.0.1:0'\n[record]\nfolder = 'video'\n[mqtt]\nbroker = '127.0.0.1:1'\ntopic = 't'\n";
    std::fs::write(scene.path("sinks.toml"), sinks).unwrap();
    let (mut child, socket) = service(&scene, &["--config", "sinks.toml", "--board", "board.json"]);
    assert!(hear(&socket).contains("READY=1"));
    let names = ["repedge-jpeg", "repedge-mqtt", "repedge-record", "repedge-web"];
    // A thread has its name a little after it has begun.
    let is_there = |threads: &BTreeMap<String, String>| names.iter().all(|name| threads.contains_key(*name));
    let end = Instant::now() + Duration::from_secs(60);
    let mut threads = threads_of_sinks(child.id());
    while !is_there(&threads) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        threads = threads_of_sinks(child.id());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_there(&threads) && threads.values().all(|cores| cores == first), "{threads:?}");
}

#[test]
fn a_reader_that_goes_ends_it_cleanly() {
    let scene = Scene::new(&signed::right());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(&scene, &["--bundle", "squares.bundle", "--keys", "keys"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().count() == 1 && said.contains("frames shown"), "{said}");
}

/// Twelve frames of red, but for the sixth, which is black.
fn video(scene: &Scene) {
    let mut bytes = b"YUV4MPEG2 W64 H64 F30:1 C420jpeg\n".to_vec();
    for frame in 0..12 {
        let [y, u, v] = if frame == 5 { [16, 128, 128] } else { [81, 90, 240] };
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend([y].repeat(64 * 64));
        bytes.extend([u].repeat(32 * 32));
        bytes.extend([v].repeat(32 * 32));
    }
    std::fs::write(scene.path("red.y4m"), bytes).unwrap();
}

#[test]
fn objects_in_a_video_keep_their_numbers() {
    let scene = Scene::new(&[]);
    video(&scene);
    let lines = lines(&run(&scene, &["--bundle", "squares.bundle", "--keys", "keys", "--video", "red.y4m"]));
    assert_eq!(lines.len(), 12);
    let tracks = |line: &Value| -> Vec<u64> {
        line["detections"].as_array().unwrap().iter().map(|it| it["track"].as_u64().unwrap()).collect()
    };
    for (frame, line) in lines.iter().enumerate() {
        let expected: &[u64] = if frame == 5 { &[] } else { &[1, 2, 3, 4] };
        assert_eq!(tracks(line), expected, "frame {frame}");
    }
    let last = &lines[11];
    assert_eq!((&last["frame"], &last["source_frame"], last.get("image")), (&11.into(), &11.into(), None));
}

#[test]
fn a_damaged_frame_of_motion_jpeg_costs_itself_and_is_told() {
    let scene = Scene::new(&[]);
    let whole = include_bytes!("../../sdk/tests/data/baseline.jpg");
    let mut damaged = whole.to_vec();
    // Numbers in its first table that cannot be.
    let table = damaged.windows(2).position(|mark| mark == [0xff, 0xc4]).unwrap();
    damaged[table + 5..table + 20].fill(0xee);
    std::fs::write(scene.path("damaged.mjpeg"), [&whole[..], &damaged, whole].concat()).unwrap();
    let play =
        ["--bundle", "squares.bundle", "--keys", "keys", "--video", "damaged.mjpeg", "--policy", "every"];
    let output = run(&scene, &[&play[..], &["--report", "report.json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("skipped: frame 1: JPEG"), "{said}");
    assert!(said.contains("2 frames shown") && said.contains("1 broken"), "{said}");
    let numbers: Vec<u64> =
        lines(&output).iter().map(|line| line["source_frame"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 2], "it plays on");
    let report: Value = serde_json::from_slice(&std::fs::read(scene.path("report.json")).unwrap()).unwrap();
    assert_eq!((&report["shown"], &report["broken"], &report["lost"]), (&2.into(), &1.into(), &0.into()));
}

#[test]
fn a_pattern_is_played_and_wrong_choices_are_named() {
    let scene = Scene::new(&[]);
    let play = ["--bundle", "squares.bundle", "--keys", "keys"];
    let pattern = lines(&run(&scene, &[&play[..], &["--pattern", "96x64", "--frames", "4"]].concat()));
    assert_eq!(pattern.len(), 4);
    assert_eq!((&pattern[3]["width_px"], &pattern[3]["height_px"]), (&96.into(), &64.into()));
    let wrong = run(&scene, &[&play[..], &["--pattern", "huge"]].concat());
    assert!(complaint(&wrong, 2).contains("1280x720"));
    let two = run(&scene, &[&play[..], &["--pattern", "96x64", "--video", "a.y4m"]].concat());
    complaint(&two, 2);
    std::fs::write(scene.path("demo.toml"), "pattern = \"96x64\"\nvideo = \"a.y4m\"\n").unwrap();
    let two = run(&scene, &[&play[..], &["--config", "demo.toml"]].concat());
    assert!(complaint(&two, 1).contains("several things to play"));
    let film = run(&scene, &[&play[..], &["--video", "film.mp4"]].concat());
    assert!(complaint(&film, 1).contains("ffmpeg"));
}

#[test]
fn what_no_camera_can_give_is_refused_by_name() {
    let scene = Scene::new(&signed::right());
    let play = ["--bundle", "squares.bundle", "--keys", "keys", "--frames", "1"];
    let refused = |args: &[&str], code| complaint(&run(&scene, &[&play[..], args].concat()), code);
    assert!(refused(&["--camera-size", "huge"], 2).contains("1280x720"));
    assert!(refused(&["--camera-size", "640x9000"], 2).contains("8192"));
    assert!(refused(&["--camera-fps", "0"], 2).contains("1 to 1000"));
    assert!(refused(&["--camera-fps", "fast"], 2).contains("\"fast\""));
    assert!(refused(&["--camera-fps", "30", "--pattern", "96x64"], 2).contains("--pattern"));
    assert!(refused(&["--camera-format", "nv12,rgb24"], 2).contains("\"rgb24\": expected some of nv12"));
    assert!(refused(&["--camera-format", "yuyv", "--pattern", "96x64"], 2).contains("--pattern"));
    let file = |text: &str| std::fs::write(scene.path("demo.toml"), text).unwrap();
    for (text, said) in [
        ("camera_size = \"640\"", "camera_size: \"640\""),
        ("camera_fps = 0", "camera_fps: 0"),
        ("camera_fps = -1", "demo.toml"),
        ("camera_format = \"nv21\"", "camera_format: \"nv21\""),
        ("camera_format = \"\"", "camera_format: \"\""),
    ] {
        file(text);
        assert!(refused(&["--config", "demo.toml"], 1).contains(said), "{said}");
    }
    file("camera_size = \"1280x720\"\ncamera_fps = 60\ncamera_format = \"yuyv, mjpeg\"\n");
    let said = refused(&["--config", "demo.toml", "--images", "nowhere"], 1);
    assert!(said.contains("nowhere") && !said.contains("camera"), "what is right is taken: {said}");
}

#[test]
fn a_score_that_cannot_be_is_refused_before_anything_is_opened() {
    let scene = Scene::new(&[]);
    let refused = |args: &[&str], code| {
        let output = run(&scene, &[&["--bundle", "nowhere.bundle"], args].concat());
        let said = complaint(&output, code);
        assert!(said.contains("from 0 to 1") && !said.contains("nowhere"), "{said}");
        said
    };
    for score in ["7", "NaN", "half"] {
        assert!(refused(&[&format!("--confidence={score}")], 2).contains("--confidence"), "{score}");
    }
    for score in ["7", "nan", "-0.5"] {
        std::fs::write(scene.path("demo.toml"), format!("confidence = {score}\n")).unwrap();
        assert!(refused(&["--config", "demo.toml"], 1).contains("confidence: "), "{score}");
    }
}

#[test]
fn a_report_tells_of_stages_queues_and_sinks() {
    let scene = Scene::new(&[]);
    let play = ["--bundle", "squares.bundle", "--keys", "keys", "--pattern", "96x64", "--frames", "20"];
    for policy in ["newest", "every"] {
        let output = run(&scene, &[&play[..], &["--policy", policy, "--report", "report.json"]].concat());
        assert!(String::from_utf8_lossy(&output.stderr).contains("20 frames shown"));
        assert_eq!(lines(&output).len(), 20);
        let report: Value =
            serde_json::from_slice(&std::fs::read(scene.path("report.json")).unwrap()).unwrap();
        assert_eq!((&report["shown"], &report["lost"]), (&20.into(), &0.into()));
        assert_eq!(report["source"], "test pattern of 96x64 pixels");
        assert_eq!(report["earlier"], serde_json::json!([]), "nothing was played before");
        assert!(policy == "newest" || report["dropped"] == 0, "{report}");
        let stages: Vec<&str> =
            report["stages"].as_array().unwrap().iter().map(|it| it["stage"].as_str().unwrap()).collect();
        assert_eq!(stages, ["capture", "preprocess", "inference", "decode", "sinks"]);
        assert!(
            report["stages"][4]["p99_us"].is_u64() && report["queues"][0]["deepest"].is_u64(),
            "{report}"
        );
        assert_eq!(report["sinks"][0]["failures"], 0);
    }
    complaint(&run(&scene, &[&play[..], &["--policy", "some"]].concat()), 2);
}

#[test]
fn which_rga_is_used_can_be_said() {
    let scene = Scene::new(&[]);
    let play = ["--bundle", "squares.bundle", "--keys", "keys", "--pattern", "96x64", "--frames", "2"];
    // No camera's frames and no NPU: whatever is said, the CPU prepares them.
    for choice in ["auto", "off", "nowhere/librga.so"] {
        assert_eq!(lines(&run(&scene, &[&play[..], &["--rga", choice]].concat())).len(), 2, "{choice}");
    }
    assert!(complaint(&run(&scene, &[&play[..], &["--rga", ""]].concat()), 2).contains("--rga"));
    std::fs::write(scene.path("demo.toml"), "rga = \"off\"\n").unwrap();
    assert_eq!(lines(&run(&scene, &[&play[..], &["--config", "demo.toml"]].concat())).len(), 2);
    std::fs::write(scene.path("demo.toml"), "rga = \"\"\n").unwrap();
    let said = complaint(&run(&scene, &[&play[..], &["--config", "demo.toml"]].concat()), 1);
    assert!(said.contains("rga: nothing"), "{said}");
}

#[test]
fn a_report_that_cannot_be_written_does_not_hide_why_the_run_failed() {
    let scene = Scene::new(&[]);
    std::fs::create_dir_all(scene.path("pictures")).unwrap();
    std::fs::write(scene.path("pictures/b.png"), "no picture").unwrap();
    let play = ["--bundle", "squares.bundle", "--keys", "keys", "--report", "/dev/full"];
    let said = complaint(&run(&scene, &[&play[..], &["--images", "pictures"]].concat()), 1);
    assert!(said.contains("error: 1 picture: nothing in it can be used"), "{said}");
    assert!(said.contains("note: /dev/full"), "{said}");
    let said = complaint(&run(&scene, &[&play[..], &["--pattern", "96x64", "--frames", "1"]].concat()), 1);
    assert!(said.contains("error: /dev/full"), "{said}");
}

#[test]
fn standard_output_on_a_full_disk_costs_the_lines_only() {
    let scene = Scene::new(&signed::right());
    let mut command = command(&scene, &["--bundle", "squares.bundle", "--keys", "keys", "--frames", "5"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = complaint(&output, 0);
    assert!(said.contains("going on without a sink: JSON lines to standard output"), "{said}");
    assert!(said.contains("5 frames shown"), "{said}");
}

#[test]
fn standard_error_on_a_full_disk_costs_what_is_said_only() {
    let scene = Scene::new(&[]);
    pictures(&scene);
    let mut command =
        command(&scene, &["--bundle", "squares.bundle", "--keys", "keys", "--images", "pictures"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    // Of the picture that is passed over, and of the end, nobody can be told.
    let output = command.stderr(full).stdout(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(lines(&output).len(), 2);
}

#[test]
fn a_full_disk_costs_the_lines_only() {
    let scene = Scene::new(&signed::right());
    let args = ["--bundle", "squares.bundle", "--keys", "keys", "--frames", "5", "--json", "/dev/full"];
    let output = run(&scene, &args);
    let said = complaint(&output, 0);
    assert!(said.contains("going on without a sink") && said.contains("/dev/full"), "{said}");
    assert!(said.contains("5 frames shown"), "{said}");
    assert_eq!(said.matches("going on").count(), 1, "it is said once");
}
