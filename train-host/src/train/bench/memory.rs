//! Memory of this process, as Linux counts it. Knows nothing about training.

/// The most physical memory the process ever held; `None` where the system does not tell.
pub(super) fn peak_bytes() -> Option<u64> {
    of_process("VmHWM")
}

/// The physical memory the process holds now; `None` where the system does not tell.
pub(super) fn resident_bytes() -> Option<u64> {
    of_process("VmRSS")
}

fn of_process(field: &str) -> Option<u64> {
    find(&std::fs::read_to_string("/proc/self/status").ok()?, field)
}

/// The value of `field` in the text of `/proc/PID/status`, whose lines read `VmHWM:   1234 kB`.
fn find(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t  10 kB\nRssAnon:\t 5 kB\n";
        assert_eq!(find(status, "VmHWM"), Some(2048 * 1024));
        assert_eq!(find(status, "VmRSS"), Some(10 * 1024));
        assert_eq!(find(status, "Vm"), None);
        assert_eq!(find("VmHWM: many kB", "VmHWM"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_never_holds_more_than_its_peak() {
        let resident = resident_bytes().unwrap();
        assert!(resident > 0 && resident <= peak_bytes().unwrap());
    }
}
