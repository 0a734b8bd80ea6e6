//! What is published on a topic, as messages.

use switchboard::Publication;

use crate::frame::OpCode;
use crate::shared::Shared;
use crate::utf8;

/// A publication as the message that it is sent as, made once for all connections of all loops that get it.
pub(crate) struct AsMessage {
    pub(crate) opcode: OpCode,
    pub(crate) payload: Shared,
}

impl AsMessage {
    pub(crate) fn of(publication: &Publication) -> &Self {
        publication.attachment(|publication| {
            let payload = publication.payload();
            let opcode = if utf8::check(payload).is_ok() { OpCode::Text } else { OpCode::Binary };
            Self { opcode, payload: Shared::new(payload.clone()) }
        })
    }
}
