//! What is checked before anything is sent.

use artifact::Fault;

use crate::Error;
use crate::sink::config::MqttConfig;
use crate::sink::open::read_secret;

/// The registered port of MQTT.
const PORT: &str = "1883";
/// Longest topic, which leaves room for that of availability.
const MAX_TOPIC: usize = 256;

/// Settings that can be used.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) topic: String,
    pub(super) login: Option<[String; 2]>,
}

impl Settings {
    pub(super) fn new(config: &MqttConfig) -> Result<Self, Error> {
        let (host, port) = parse_broker(&config.broker).ok_or_else(|| {
            unusable(
                format!("{:?} as a broker", config.broker),
                "a host's name or address, with :port where it is not 1883",
                "write broker = \"mqtt.example:1883\" under [mqtt]",
            )
        })?;
        if !is_topic(&config.topic) {
            return Err(unusable(
                format!("{:?} as a topic", config.topic),
                "1 to 256 bytes without + and #, levels that are not empty, and no $ in front",
                "write topic = \"repedge/door\" under [mqtt]",
            ));
        }
        let password = config.password_file.as_deref().map(read_secret).transpose()?;
        if password.is_some() && config.user.is_none() {
            return Err(unusable("a password without a user", "both", "name the user under [mqtt]"));
        }
        let login = config.user.clone().map(|user| [user, password.unwrap_or_default()]);
        Ok(Self { host, port, topic: config.topic.clone(), login })
    }

    /// Where others learn whether we are there.
    pub(super) fn availability(&self) -> String {
        format!("{}/availability", self.topic)
    }
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn parse_broker(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(PORT))?)
        }
        None => text.split_once(':').unwrap_or((text, PORT)),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_host = !host.is_empty() && host.len() <= 253 && host.bytes().all(is_plain);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    is_host.then(|| (host.to_owned(), port))
}

fn is_topic(topic: &str) -> bool {
    (1..=MAX_TOPIC).contains(&topic.len())
        && !topic.starts_with('$')
        && !topic.contains(|letter: char| letter == '+' || letter == '#' || letter.is_control())
        && topic.split('/').all(|level| !level.is_empty())
}

fn unusable(found: impl Into<String>, expected: &str, hint: &str) -> Error {
    Error::Input(Fault::new(found, expected, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_with_or_without_a_port() {
        for (text, expected) in [
            ("localhost", Some(("localhost", 1883))),
            ("10.0.0.1:1884", Some(("10.0.0.1", 1884))),
            ("[::1]", Some(("::1", 1883))),
            ("[::1]:1884", Some(("::1", 1884))),
            ("", None),
            (":1883", None),
            ("host:", None),
            ("host:0", None),
            ("host:99999", None),
            ("mqtt://host", None),
            ("a b", None),
            ("::1", None),
        ] {
            let parsed = parse_broker(text);
            assert_eq!(parsed.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{text}");
        }
    }

    #[test]
    fn topics_have_no_wildcards() {
        assert!(is_topic("repedge/door") && is_topic("tür"));
        for topic in ["", "/", "a/", "/a", "a//b", "a/+", "#", "$SYS/a", "a\nb", &"a".repeat(257)] {
            assert!(!is_topic(topic), "{topic}");
        }
    }

    #[test]
    fn a_password_needs_a_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "secret\n").unwrap();
        let mut config =
            MqttConfig { broker: "b".into(), topic: "t".into(), user: None, password_file: Some(path) };
        assert!(Settings::new(&config).unwrap_err().to_string().contains("user"));
        config.user = Some("me".into());
        assert_eq!(Settings::new(&config).unwrap().login, Some(["me".into(), "secret".into()]));
    }
}
