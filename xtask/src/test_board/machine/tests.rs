use super::*;

/// A machine played by a shell script.
fn machine(script: &str, folder: &Path, time_limit_s: u64) -> Machine {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Machine::new(command, &folder.join("serial.log"), Duration::from_secs(time_limit_s))
}

#[test]
fn its_words_are_kept_and_its_end_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let ended = machine("echo booting; echo '@repedge ready'; exit 3", folder.path(), 600).run().unwrap();
    assert_eq!(ended.log, b"booting\n@repedge ready\n");
    assert_eq!(std::fs::read(folder.path().join("serial.log")).unwrap(), ended.log);
    assert!(ended.boot_s.is_some_and(|boot_s| boot_s <= ended.total_s), "{ended:?}");
    assert!(matches!(ended.end, End::Exited(status) if status.code() == Some(3)));
}

#[test]
fn one_that_hangs_is_ended_and_gone() {
    let folder = tempfile::tempdir().unwrap();
    let ended = machine("echo $$; exec sleep 1000", folder.path(), 1).run().unwrap();
    assert_eq!(ended.end, End::TimedOut);
    assert_eq!(ended.boot_s, None);
    let id = String::from_utf8(ended.log).unwrap();
    assert!(!Path::new(&format!("/proc/{}", id.trim())).exists());
}

#[test]
fn one_that_closes_its_output_and_stays_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let ended = machine("exec sleep 1000 >/dev/null", folder.path(), 1).run().unwrap();
    assert_eq!(ended.end, End::TimedOut);
}

#[test]
fn one_that_prints_without_end_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let ended = machine("exec yes", folder.path(), 600).run().unwrap();
    assert_eq!(ended.end, End::Flooded);
}

#[test]
fn readiness_is_seen_in_whatever_pieces_it_comes() {
    for at in 1.."\n@repedge ready\r\n".len() {
        let mut said = Said::since(Instant::now());
        let (a, b) = "\n@repedge ready\r\n".split_at(at);
        said.hear(a.as_bytes());
        said.hear(b.as_bytes());
        assert!(said.boot_s.is_some(), "cut at {at}");
    }
}

#[test]
fn a_picture_is_asked_for_once_in_whatever_pieces_it_comes() {
    let line = "frames\n@repedge display\r\nmore\n";
    for at in 0..=line.len() {
        let mut said = Said::since(Instant::now());
        let (a, b) = line.split_at(at);
        let asked = [a, b, "more"].map(|chunk| said.hear(chunk.as_bytes()));
        assert_eq!(asked.iter().filter(|asked| **asked).count(), 1, "cut at {at}");
    }
}

#[test]
fn a_display_is_on_the_line_and_one_that_shows_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let display = Display::new(&folder.path().join("display.ppm")).unwrap();
    let machine = machine("echo '@repedge display'; read answer", folder.path(), 600).with(display);
    let line = shell_line(&machine.command);
    assert!(line.contains(" -device virtio-gpu-pci -qmp unix:/"), "{line}");
    let ended = machine.run().unwrap();
    let error = ended.picture.unwrap().unwrap_err();
    assert!(error.contains("qemu's monitor does not answer"), "{error}");
    assert!(matches!(ended.end, End::Exited(status) if status.success()), "{:?}", ended.end);
}

#[test]
fn the_line_for_a_shell_boots_the_disk() {
    let disk = Some(Disk { image: "a b.img".into(), writes: Writes::Kept });
    let line = shell_line(&qemu(&Boot { kernel: "kernel".into(), initramfs: "i.cpio".into(), disk }));
    assert!(line.starts_with("qemu-system-aarch64 -M virt "), "{line}");
    assert!(
        line.contains(" -kernel kernel -initrd i.cpio -drive 'file=a b.img,format=raw,if=virtio' "),
        "{line}"
    );
    assert!(line.ends_with(" -append 'console=ttyAMA0 panic=-1 rdinit=/sbin/init root=/dev/vda2'"), "{line}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("serial.log");
    let machine = Machine {
        command: Command::new("no-such-emulator"),
        log: log.clone(),
        time_limit: Duration::from_secs(600),
        display: None,
    };
    let error = machine.run().unwrap_err();
    assert!(format!("{error:#}").contains("no-such-emulator"), "{error:#}");
}
