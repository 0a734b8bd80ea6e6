//! message-io by its low-level interface, which needs no second thread. It writes each message as it is sent.

use std::net::SocketAddr;

use anyhow::Result;
use message_io::network::{NetEvent, Transport, split};

pub(crate) fn serve(transport: Transport, address: SocketAddr) -> Result<()> {
    let (controller, mut processor) = split();
    let (_, address) = controller.listen(transport, address)?;
    peers::announce(address);
    loop {
        processor.process_poll_event(None, |event| {
            if let NetEvent::Message(endpoint, data) = event {
                controller.send(endpoint, data);
            }
        });
    }
}
