//! Who may look: on this machine's own address whoever asks for it by its name, elsewhere whoever knows the token. What another
//! site's page asks for in a visitor's browser is refused (DNS rebinding, cross-site requests).

use std::net::SocketAddr;
use std::path::Path;

use artifact::Fault;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use super::unusable;
use crate::Error;
use crate::sink::config::WebConfig;
use crate::sink::open::read_secret;

/// Name of the cookie that keeps the token.
const COOKIE: &str = "repedge_token";

/// The rules of one server.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<String>,
    /// Whether others than this machine can reach it.
    is_local: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It knows no token, or a wrong one.
    Token,
    /// It asks for a name that is not this machine's.
    Host,
    /// A page of another site asks.
    Origin,
}

impl Refusal {
    pub(super) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Token => (StatusCode::UNAUTHORIZED, "a token is needed: open /?token=TOKEN once\n"),
            Self::Host => (StatusCode::FORBIDDEN, "ask for localhost or 127.0.0.1\n"),
            Self::Origin => (StatusCode::FORBIDDEN, "pages of other sites may not ask\n"),
        }
    }
}

impl Guard {
    /// Fails where others could look without a token.
    pub(super) fn new(config: &WebConfig) -> Result<Self, Error> {
        let token = config.token_file.as_deref().map(read_token).transpose()?;
        let is_local = config.listen.ip().is_loopback();
        if token.is_none() && !is_local {
            return Err(open_to_all(config.listen));
        }
        Ok(Self { token, is_local })
    }

    /// Whether a request may be answered.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap, kind: Kind) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if self.is_local && !is_own_name(host) {
            return Err(Refusal::Host);
        }
        // Browsers name the site of the page that asks; other programs have no such page.
        let origin = headers.contains_key(header::ORIGIN).then(|| text(header::ORIGIN).unwrap_or_default());
        let is_same = |origin: &str| origin.split_once("://").is_some_and(|(_, asked)| asked == host);
        if kind == Kind::Change && origin.is_some_and(|origin| !is_same(origin)) {
            return Err(Refusal::Origin);
        }
        let Some(token) = &self.token else { return Ok(()) };
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let given = [bearer, in_query(uri), text(header::COOKIE).and_then(in_cookies)];
        let is_right = |given: &str| bool::from(given.as_bytes().ct_eq(token.as_bytes()));
        if given.into_iter().flatten().any(is_right) { Ok(()) } else { Err(Refusal::Token) }
    }

    /// The cookie that keeps the token, for a visitor who gave it in the address and passed [`Guard::check`].
    pub(super) fn cookie(&self, uri: &Uri) -> Option<String> {
        in_query(uri)?;
        let token = self.token.as_deref()?;
        Some(format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"))
    }
}

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Look only.
    Look,
    /// Change something, or open a channel that browsers do not keep to their site.
    Change,
}

fn in_query(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

fn in_cookies(cookies: &str) -> Option<&str> {
    cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Whether `host` is a name of this machine that no other site can take, with or without a port.
fn is_own_name(host: &str) -> bool {
    let has_port = |(_, port): &(&str, &str)| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = host.rsplit_once(':').filter(has_port).map_or(host, |(name, _)| name);
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

fn read_token(path: &Path) -> Result<String, Error> {
    let token = read_secret(path)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if (16..=256).contains(&token.len()) && token.bytes().all(is_plain) {
        return Ok(token);
    }
    Err(unusable(
        format!("{}: a token of {} bytes", path.display(), token.len()),
        "16 to 256 letters, digits and -_.~",
        "make one, for example with `openssl rand -hex 16`",
    ))
}

fn open_to_all(listen: SocketAddr) -> Error {
    Error::Input(Fault::new(
        format!("a page at {listen}, which others can reach, without a token"),
        "127.0.0.1, or a token_file",
        "write a token into a file, for example with `openssl rand -hex 16`, and name it as token_file under [web]",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(token: Option<&str>, is_local: bool) -> Guard {
        Guard { token: token.map(str::to_owned), is_local }
    }

    fn check(
        guard: &Guard,
        kind: Kind,
        uri: &str,
        lines: &[(header::HeaderName, &str)],
    ) -> Result<(), Refusal> {
        let headers = lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        guard.check(&uri.parse().unwrap(), &headers, kind)
    }

    #[test]
    fn on_its_own_address_only_its_own_names_are_answered() {
        let guard = guard(None, true);
        for (host, expected) in [
            ("localhost:8080", Ok(())),
            ("127.0.0.1", Ok(())),
            ("[::1]:8080", Ok(())),
            ("evil.example:8080", Err(Refusal::Host)),
            ("localhost.evil.example", Err(Refusal::Host)),
            ("evil@localhost:80x", Err(Refusal::Host)),
            ("", Err(Refusal::Host)),
        ] {
            assert_eq!(check(&guard, Kind::Look, "/", &[(header::HOST, host)]), expected, "{host}");
        }
        assert_eq!(check(&guard, Kind::Look, "/", &[]), Err(Refusal::Host));
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let guard = guard(None, true);
        let asked = |kind, origin| {
            check(&guard, kind, "/ws", &[(header::HOST, "localhost:8080"), (header::ORIGIN, origin)])
        };
        assert_eq!(asked(Kind::Change, "http://localhost:8080"), Ok(()));
        for origin in ["http://localhost:9090", "https://evil.example", "null", ""] {
            assert_eq!(asked(Kind::Change, origin), Err(Refusal::Origin), "{origin}");
        }
        assert_eq!(asked(Kind::Look, "https://evil.example"), Ok(()));
    }

    #[test]
    fn the_token_may_be_in_a_header_the_address_or_a_cookie() {
        let guard = guard(Some(TOKEN), false);
        let bearer = format!("Bearer {TOKEN}");
        let cookie = format!("a=b; {COOKIE}={TOKEN}");
        assert_eq!(check(&guard, Kind::Look, "/", &[(header::AUTHORIZATION, &bearer)]), Ok(()));
        assert_eq!(check(&guard, Kind::Look, "/", &[(header::COOKIE, &cookie)]), Ok(()));
        assert_eq!(check(&guard, Kind::Look, &format!("/?a&token={TOKEN}"), &[]), Ok(()));
        assert_eq!(check(&guard, Kind::Look, "/", &[]), Err(Refusal::Token));
        for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0"] {
            assert_eq!(check(&guard, Kind::Look, &format!("/?token={wrong}"), &[]), Err(Refusal::Token));
        }
        assert!(guard.cookie(&"/".parse().unwrap()).is_none());
        let cookie = guard.cookie(&format!("/?token={TOKEN}").parse().unwrap()).unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    }

    #[test]
    fn without_a_token_others_cannot_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut config = WebConfig { listen: "0.0.0.0:0".parse().unwrap(), ..WebConfig::default() };
        let error = Guard::new(&config).unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:0") && error.contains("token_file"), "{error}");
        config.token_file = Some(path.clone());
        assert!(Guard::new(&config).unwrap_err().to_string().contains("token"));
        for (token, is_right) in
            [("short\n", false), ("with spaces in between", false), ("0123456789abcdef\n", true)]
        {
            std::fs::write(&path, token).unwrap();
            assert_eq!(Guard::new(&config).is_ok(), is_right, "{token}");
        }
    }
}
