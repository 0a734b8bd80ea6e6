//! Where an outgoing connection goes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::ConnectOptions;

/// Where an outgoing connection goes: what [`Core::connect`](crate::Core::connect) and
/// [`Reconnect`](crate::Reconnect) take, as one of these or as what becomes one.
///
/// ```
/// use switchboard::Target;
///
/// assert_eq!("127.0.0.1:80".parse(), Ok(Target::Address(([127, 0, 0, 1], 80).into())));
/// assert_eq!("example.com:80".parse(), Ok(Target::from(("example.com", 80))));
/// assert_eq!("[::1]:80".parse::<Target>()?.to_string(), "[::1]:80");
/// # #[cfg(unix)]
/// assert_eq!("unix:/run/it".parse(), Ok(Target::from(std::path::Path::new("/run/it"))));
/// assert!("no port".parse::<Target>().is_err());
/// # Ok::<(), switchboard::InvalidTarget>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// An address, by TCP.
    Address(SocketAddr),
    /// A host's name, by TCP. It is resolved anew for each attempt, off the loop's thread, and its
    /// addresses are tried in the order and at the pace of RFC 8305: see
    /// [`Core::connect`](crate::Core::connect).
    Name {
        /// The name, as the system's resolver understands it. An IP address is not looked up.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix stream socket, by the path of its file. It has no addresses, and knows no reset: who
    /// aborts looks to the peer like one who closes.
    #[cfg(unix)]
    Unix(PathBuf),
}

/// No [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an address and a port, nor a host and a port, nor unix: and a path")]
pub struct InvalidTarget;

/// What begins the path of a Unix socket.
#[cfg(unix)]
const UNIX: &str = "unix:";

/// What a connect is told.
pub(crate) struct Destination {
    pub(crate) target: Target,
    /// `None` for those by default: many may wait for their time.
    options: Option<Box<ConnectOptions>>,
}

impl Destination {
    pub(crate) fn new(target: Target, options: &ConnectOptions) -> Self {
        let options = (*options != ConnectOptions::DEFAULT).then(|| Box::new(options.clone()));
        Self { target, options }
    }

    pub(crate) fn options(&self) -> &ConnectOptions {
        self.options.as_deref().unwrap_or(&ConnectOptions::DEFAULT)
    }
}

impl Target {
    /// A host and a port; an IP address, be it in brackets or not, is taken for what it is.
    fn host(host: &str, port: u16) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(ip) => Self::Address(SocketAddr::new(ip, port)),
            Err(_) => Self::Name { host: bare.to_owned(), port },
        }
    }

    /// Takes a name that spells an address for that.
    pub(crate) fn spell_out(&mut self) {
        if let Self::Name { host, port } = self {
            *self = Self::host(host, *port);
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl From<(IpAddr, u16)> for Target {
    fn from(address: (IpAddr, u16)) -> Self {
        Self::Address(address.into())
    }
}

impl From<(&str, u16)> for Target {
    fn from((host, port): (&str, u16)) -> Self {
        Self::host(host, port)
    }
}

impl From<(String, u16)> for Target {
    fn from((host, port): (String, u16)) -> Self {
        Self::host(&host, port)
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

#[cfg(unix)]
impl From<&Path> for Target {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

#[cfg(unix)]
impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// `host:port`, `192.0.2.1:80`, `[2001:db8::1]:80`; on Unix also `unix:/path` and `unix:./path`
    /// (a path there has a slash: `unix:80` is a host).
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        #[cfg(unix)]
        if let Some(path) = text.strip_prefix(UNIX)
            && path.contains('/')
        {
            return Ok(Self::Unix(path.into()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidTarget)?;
        if host.is_empty() || host.contains([':', '/', '[', ']']) || host.contains(char::is_whitespace) {
            return Err(InvalidTarget);
        }
        Ok(Self::host(host, port.parse().map_err(|_| InvalidTarget)?))
    }
}

/// As [`FromStr`] reads it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            #[cfg(unix)]
            Self::Unix(path) => {
                let here = if path.as_os_str().as_encoded_bytes().contains(&b'/') { "" } else { "./" };
                write!(f, "{UNIX}{here}{}", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_can_be_read() {
        for text in ["127.0.0.1:80", "[::1]:80", "example.com:80", "localhost:0", "unix:80"] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()).as_deref(), Ok(text));
        }
        #[cfg(unix)]
        for (path, text) in [("/run/it", "unix:/run/it"), ("it", "unix:./it"), ("../it", "unix:../it")] {
            assert_eq!(Target::from(Path::new(path)).to_string(), text);
            let read = Path::new(text.strip_prefix(UNIX).unwrap_or_default());
            assert_eq!(text.parse(), Ok(Target::from(read)));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", ":", ":80", "host", "host:", "host:port", "host:65536", "host:-1", "::1:80", "[::1]", "a b:80"]
        {
            assert_eq!(text.parse::<Target>(), Err(InvalidTarget), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_not_taken_for_a_name() {
        let [four, six] = ["127.0.0.1:80", "[::1]:80"].map(|text| text.parse().map(Target::Address));
        assert_eq!(Ok(Target::from(("127.0.0.1", 80))), four);
        assert_eq!(Ok(Target::from(("::1", 80))), six);
        assert_eq!(Ok(Target::from(("[::1]".to_owned(), 80))), six);
        for (host, expected) in [("::1", six), ("example.com", Ok(Target::from(("example.com", 80))))] {
            let mut target = Target::Name { host: host.to_owned(), port: 80 };
            target.spell_out();
            assert_eq!(Ok(target), expected);
        }
    }
}
