//! A client that speaks in datagrams.

use std::cell::RefCell;
use std::rc::Rc;

use std::net::SocketAddr;

use switchboard::{CloseReason, Datagram, DatagramContext, DatagramProtocol, Failure, Message};

use super::talker::Order;

/// What becomes of one; it is judged by that.
#[derive(Debug, Default)]
pub(super) struct Shouts {
    pub(super) shouted: Vec<Vec<u8>>,
    pub(super) echoes: u64,
    pub(super) closed: u32,
}

/// Sends what it is told to, and knows each echo when it hears it.
pub(super) struct Shouter {
    pub(super) target: SocketAddr,
    pub(super) record: Rc<RefCell<Shouts>>,
}

impl DatagramProtocol for Shouter {
    fn on_datagram(&mut self, _: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        assert_eq!(datagram.source, self.target);
        let mut record = self.record.borrow_mut();
        record.echoes += 1;
        let number: [u8; 4] = datagram.payload[..4].try_into().expect("four bytes");
        let said = record.shouted.get(u32::from_be_bytes(number) as usize);
        assert!(said.is_some_and(|said| said == datagram.payload), "an echo of what nobody shouted");
        Ok(())
    }

    fn on_message(&mut self, cx: &mut DatagramContext<'_>, message: Message) -> Result<(), Failure> {
        if let Ok(Order::Say(word)) = message.downcast() {
            let mut record = self.record.borrow_mut();
            let number = u32::try_from(record.shouted.len()).expect("few shouts");
            let payload = [&number.to_be_bytes(), &word[..]].concat();
            cx.send_to(self.target, &payload);
            record.shouted.push(payload);
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut switchboard::Core, _: &CloseReason) {
        let mut record = self.record.borrow_mut();
        record.closed += 1;
        assert_eq!(record.closed, 1, "on_close twice");
    }
}
