//! What a guest told over its serial line: the lines beginning with `@repedge` that the scenario's runner writes, between
//! whatever else the kernel and the programs print. Any bytes can be read: a line that makes no sense is output.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const MARK: &str = "@repedge ";
/// The kernel's last words before a machine is off, and those after which nothing can be believed.
const POWER_DOWN: &str = "reboot: Power down";
const PANIC: &str = "Kernel panic - ";

/// Everything that was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The guest's user space began.
    pub is_ready: bool,
    /// Steps that began, by number.
    pub steps: BTreeMap<usize, StepRun>,
    /// Files that were sent, by name.
    pub files: BTreeMap<String, Sent>,
    /// The runner came to its end.
    pub is_done: bool,
    /// The kernel said that it powers down, after the runner's end.
    pub is_off: bool,
    /// What the kernel said when it gave up.
    pub panic: Option<String>,
}

/// How a step went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepRun {
    /// What was printed meanwhile.
    pub output: String,
    /// Its exit code; none if it did not come to its end.
    pub exit: Option<i32>,
}

/// A file from the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// As the guest had it: the digests agree.
    Whole(Vec<u8>),
    /// It came broken or in part; says how.
    Broken(String),
    /// The guest has no such file.
    Missing,
}

/// Where the reader is.
enum Place {
    Between,
    Step(usize),
    File { name: String, digest: String, text: String },
}

/// Whether a line says that user space began.
pub fn is_ready(line: &str) -> bool {
    line.trim_end() == "@repedge ready"
}

/// Whether a line asks for a picture of the display.
pub fn asks_for_picture(line: &str) -> bool {
    line.trim_end() == "@repedge display"
}

impl Transcript {
    /// Reads a whole log.
    pub fn read(log: &[u8]) -> Self {
        let mut transcript = Self::default();
        let mut place = Place::Between;
        for line in String::from_utf8_lossy(log).lines() {
            place = transcript.line(place, line.trim_end_matches('\r'));
        }
        if let Place::File { name, .. } = place {
            transcript.files.insert(name, Sent::Broken("the log ends in the middle of it".into()));
        }
        transcript
    }

    fn line(&mut self, place: Place, line: &str) -> Place {
        if let Some(at) = line.find(PANIC) {
            self.panic.get_or_insert_with(|| line[at..].to_owned());
        }
        self.is_off |= self.is_done && line.ends_with(POWER_DOWN);
        match line.strip_prefix(MARK).map(|rest| rest.split(' ').collect::<Vec<_>>()) {
            Some(words) => self.mark(place, &words),
            None => self.output(place, line),
        }
    }

    fn mark(&mut self, place: Place, words: &[&str]) -> Place {
        if let Place::File { name, .. } = &place
            && words != ["sent", name]
        {
            self.files.insert(name.clone(), Sent::Broken("its end is missing".into()));
        }
        match (words, place) {
            (["ready"], _) => self.is_ready = true,
            (["done"], _) => self.is_done = true,
            (["begin", number], _) => {
                if let Ok(number) = number.parse() {
                    self.steps.insert(number, StepRun::default());
                    return Place::Step(number);
                }
            }
            (["end", number, exit], Place::Step(open)) if number.parse() == Ok(open) => {
                self.steps.entry(open).or_default().exit = exit.parse().ok();
            }
            (["missing", name], _) => drop(self.files.insert((*name).to_owned(), Sent::Missing)),
            (["file", name, digest], _) => {
                return Place::File {
                    name: (*name).to_owned(),
                    digest: (*digest).to_owned(),
                    text: String::new(),
                };
            }
            (["sent", sent], Place::File { name, digest, text }) if *sent == name => {
                self.files.insert(name, decode(&digest, &text));
            }
            (_, place) => return place,
        }
        Place::Between
    }

    fn output(&mut self, mut place: Place, line: &str) -> Place {
        match &mut place {
            Place::Between => {}
            Place::Step(number) => {
                let output = &mut self.steps.entry(*number).or_default().output;
                output.push_str(line);
                output.push('\n');
            }
            Place::File { text, .. } => text.push_str(line.trim()),
        }
        place
    }
}

fn decode(digest: &str, text: &str) -> Sent {
    let Ok(bytes) = STANDARD.decode(text) else {
        return Sent::Broken("it is no base64: something was printed in between".into());
    };
    let found = format!("{:x}", Sha256::digest(&bytes));
    if found == digest {
        return Sent::Whole(bytes);
    }
    Sent::Broken(format!("its SHA-256 is {found}, the guest's file has {digest}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    /// A guest that did all it should: one step that prints, one file, power-off.
    fn log() -> String {
        format!(
            "[    0.000000] Booting Linux\r\n\r\n@repedge ready\r\n\r\n@repedge begin 0\r\nhello\r\nbye\r\n\
             \r\n@repedge end 0 3\r\n\r\n@repedge file a.json {DIGEST}\r\ne30=\r\n\r\n@repedge sent a.json\r\n\
             \r\n@repedge missing b.json\r\n\r\n@repedge done\r\n[    5.1] reboot: Power down\r\n"
        )
    }

    #[test]
    fn a_whole_talk_is_read() {
        let read = Transcript::read(log().as_bytes());
        let step = StepRun { output: "hello\nbye\n\n".into(), exit: Some(3) };
        let files = [("a.json".to_owned(), Sent::Whole(b"{}".to_vec())), ("b.json".into(), Sent::Missing)];
        let expected = Transcript {
            is_ready: true,
            steps: [(0, step)].into(),
            files: files.into(),
            is_done: true,
            is_off: true,
            panic: None,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn recorded_guests_are_read() {
        let read = Transcript::read(include_bytes!("../../../tests/golden/serial/power-off.log"));
        assert!(read.is_ready && read.is_done && read.is_off && read.panic.is_none());
        let exits: Vec<_> = read.steps.values().map(|step| step.exit).collect();
        assert_eq!(exits, [Some(0), Some(137), Some(0)]);
        assert!(read.steps[&0].output.contains("video0/name:vivid-000-vid-cap\n"));
        assert_eq!(read.files["report.json"], Sent::Whole(b"{\"verdict\": \"pass\"}\n".to_vec()));
        assert_eq!(read.files["no.json"], Sent::Missing);

        let read = Transcript::read(include_bytes!("../../../tests/golden/serial/panic.log"));
        assert!(read.panic.unwrap().contains("Unable to mount root fs"));
        assert!(!read.is_ready && !read.is_off && read.steps.is_empty());
    }

    #[test]
    fn a_file_that_was_cut_off_or_changed_is_broken() {
        let broken = |log: &str| match &Transcript::read(log.as_bytes()).files["a.json"] {
            Sent::Broken(how) => how.clone(),
            other => panic!("{other:?}"),
        };
        let log = log();
        assert!(broken(&log[..log.find("e30=").unwrap() + 4]).contains("in the middle"));
        assert!(broken(&log.replace("e30=", "e31=")).contains("base64"));
        assert!(broken(&log.replace("e30=", "W10=")).contains("SHA-256"));
        assert!(broken(&log.replace("e30=", "e30=\n[ 4.0] usb 1-1: new device")).contains("base64"));
    }

    #[test]
    fn a_step_without_an_end_has_no_exit_code() {
        let read = Transcript::read(log().split("\r\n@repedge end").next().unwrap().as_bytes());
        assert_eq!(read.steps[&0].exit, None);
        assert!(!read.is_done && !read.is_off);
    }

    #[test]
    fn power_off_counts_only_after_the_end_of_the_scenario() {
        let log = log().replace("@repedge done\r\n", "");
        assert!(!Transcript::read(log.as_bytes()).is_off);
    }

    #[test]
    fn a_panic_is_kept() {
        let log = log().replace("bye", "[    3.2] Kernel panic - not syncing: Attempted to kill init!");
        let panic = Transcript::read(log.as_bytes()).panic.unwrap();
        assert_eq!(panic, "Kernel panic - not syncing: Attempted to kill init!");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(log in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(!Transcript::read(&log).is_off);
        }

        #[test]
        fn a_log_cut_anywhere_is_never_a_clean_end(at in 0usize..400) {
            let log = log();
            let end = log.len() - "\r\n".len();
            prop_assume!(at < end);
            prop_assert!(!Transcript::read(&log.as_bytes()[..at]).is_off);
        }

        #[test]
        fn lines_in_any_order_can_be_read(order in Just(log().lines().map(str::to_owned).collect::<Vec<_>>()).prop_shuffle()) {
            let read = Transcript::read(order.join("\n").as_bytes());
            prop_assert!(read.steps.len() <= 1);
        }
    }
}
