//! The list of what the oracles make otherwise than RFC 6455 has it: whatever is not on it is a failure.

use std::fmt;

/// Somebody else's WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// The crate `tungstenite`.
    Tungstenite,
    /// The crate `fastwebsockets`.
    Fastwebsockets,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tungstenite, Self::Fastwebsockets];
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tungstenite => "tungstenite",
            Self::Fastwebsockets => "fastwebsockets",
        })
    }
}

/// Where an oracle may differ. What just it does is where the model (`model.rs`) asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// A length in more octets than it needs is taken.
    LengthNotMinimal,
    /// A length of 2^63 and more is called too long (1009), not wrong (1002).
    MostSignificantBit,
    /// It is refused later, and where there is more than one fault, perhaps for another one.
    Later,
    /// More fragments than ours allows.
    FragmentCount,
    /// 1014 is taken for forbidden.
    BadGateway,
    /// A close code that is forbidden is answered with 1002, and is an end in order.
    ForbiddenCode,
    /// Of a close frame with a forbidden code and a reason that is no text, the reason is looked at first.
    ReasonFirst,
    /// A frame that is not masked is taken by a server.
    NotMasked,
    /// A frame that is masked is taken by a client, as it is.
    Masked,
    /// A close frame or a pong of more than 125 bytes is taken.
    LongControl,
    /// Another message's first fragment takes the place of the message that had begun.
    MessageInMessage,
    /// A fragmented text that ends within a character is delivered without that.
    CharacterCut,
    /// The limit is one of frames, not of messages.
    MessageOfFragments,
}

/// Who reads the RFC rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// We do.
    Ours,
    /// The RFC leaves it to the endpoint.
    Either,
}

/// An entry of the list.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Which one.
    pub difference: Difference,
    /// Those that differ so.
    pub oracles: &'static [Oracle],
    /// The sections that decide it.
    pub sections: &'static str,
    /// What they decide.
    pub right: Right,
    /// What the oracles do, and what the sections say.
    pub what: &'static str,
}

const BOTH: &[Oracle] = &Oracle::ALL;
const TUNGSTENITE: &[Oracle] = &[Oracle::Tungstenite];
const FASTWEBSOCKETS: &[Oracle] = &[Oracle::Fastwebsockets];

/// The list.
#[rustfmt::skip]
pub const DIFFERENCES: [Entry; 13] = [
    Entry { difference: Difference::LengthNotMinimal, oracles: BOTH, sections: "§5.2", right: Right::Ours,
        what: "A length in more octets than it needs is taken; \"the minimal number of bytes MUST be used\"." },
    Entry { difference: Difference::MostSignificantBit, oracles: BOTH, sections: "§5.2, §7.4.1", right: Right::Ours,
        what: "A length with its most significant bit set is too long (1009); it \"MUST be 0\", which makes it a protocol \
               error (1002)." },
    Entry { difference: Difference::Later, oracles: BOTH, sections: "§7.1.7, §8.1, §10.4", right: Right::Either,
        what: "What is wrong is refused when the header or the frame is whole, not at the first octet that shows it; so a \
               frame with two faults may be refused for the other one. No section says when, or for which." },
    Entry { difference: Difference::FragmentCount, oracles: BOTH, sections: "§10.4", right: Right::Either,
        what: "Any number of fragments is taken; limits are the endpoint's own." },
    Entry { difference: Difference::BadGateway, oracles: BOTH, sections: "§7.4.2, §11.7", right: Right::Ours,
        what: "Close code 1014 is forbidden; the registry that the RFC opened has it: Bad Gateway." },
    Entry { difference: Difference::ForbiddenCode, oracles: TUNGSTENITE, sections: "§7.4.1, §7.1.7", right: Right::Ours,
        what: "A close code that must not be sent is answered with 1002 and an end in order; it is a protocol error." },
    Entry { difference: Difference::ReasonFirst, oracles: FASTWEBSOCKETS, sections: "§5.5.1, §7.1.7", right: Right::Either,
        what: "Of a close frame whose code and reason are both wrong the reason is told (1007), not the code (1002); no \
               section says which." },
    Entry { difference: Difference::NotMasked, oracles: FASTWEBSOCKETS, sections: "§5.1", right: Right::Ours,
        what: "A server takes frames that are not masked; it \"MUST close the connection\"." },
    Entry { difference: Difference::Masked, oracles: FASTWEBSOCKETS, sections: "§5.1", right: Right::Ours,
        what: "A client takes frames that are masked, their payload as it stands; it \"MUST close a connection\" then." },
    Entry { difference: Difference::LongControl, oracles: FASTWEBSOCKETS, sections: "§5.5", right: Right::Ours,
        what: "Close frames and pongs of more than 125 bytes are taken; all control frames \"MUST have a payload length of \
               125 bytes or less\"." },
    Entry { difference: Difference::MessageInMessage, oracles: FASTWEBSOCKETS, sections: "§5.4", right: Right::Ours,
        what: "The first fragment of a message within another one takes the other's place; fragments of messages \"MUST NOT \
               be interleaved\"." },
    Entry { difference: Difference::CharacterCut, oracles: FASTWEBSOCKETS, sections: "§5.6, §8.1", right: Right::Ours,
        what: "A fragmented text that ends within a character is delivered without it; the whole message \"MUST contain \
               valid UTF-8\"." },
    Entry { difference: Difference::MessageOfFragments, oracles: FASTWEBSOCKETS, sections: "§10.4", right: Right::Ours,
        what: "The limit is one of frames; who has one of the \"total message size after reassembly\" MUST keep it." },
];

impl Difference {
    /// Its place in the list.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        DIFFERENCES.iter().find(|entry| entry.difference == self).expect("an entry for each")
    }

    pub(super) fn is_of(self, oracle: Oracle) -> bool {
        self.entry().oracles.contains(&oracle)
    }
}

/// As a line of the table in docs/differential.md.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { difference, oracles, sections, right, what } = self;
        let oracles: Vec<String> = oracles.iter().map(ToString::to_string).collect();
        let right = match right {
            Right::Ours => "ours",
            Right::Either => "either",
        };
        write!(f, "| `{difference:?}` | {} | {what} | {sections} | {right} |", oracles.join(", "))
    }
}
