//! Where a protocol under test can post to.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use super::stage::Stage;
use crate::{ConnectionId, Context, Failure, Input, Message, Protocol};

/// A connection on the harness's loop that keeps what is posted to it: see
/// [`Harness::inbox`](super::Harness::inbox).
///
/// ```
/// use switchboard::{ConnectionId, Context, Failure, Input, Message, Protocol, testkit::Harness};
///
/// /// Passes on to another connection what it is sent.
/// struct Forward(Option<ConnectionId>);
///
/// impl Protocol for Forward {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         if let Some(to) = self.0 {
///             let _ = cx.post(to, Message::user(input.take_all().to_vec()));
///         }
///         Ok(())
///     }
/// }
///
/// let mut harness = Harness::new(Forward(None));
/// let inbox = harness.inbox();
/// harness.protocol::<Forward>().unwrap().0 = Some(inbox.id());
/// harness.feed(b"hello");
/// let messages = inbox.take();
/// assert_eq!(messages.into_iter().next().unwrap().downcast::<Vec<u8>>().unwrap(), b"hello");
/// ```
pub struct Inbox {
    id: ConnectionId,
    messages: Rc<RefCell<Vec<Message>>>,
}

impl Inbox {
    pub(super) fn open(stage: &mut Stage) -> Self {
        let messages = Rc::<RefCell<Vec<Message>>>::default();
        let keeper = Keeper(Rc::clone(&messages));
        let address = SocketAddr::from(([127, 0, 0, 1], 2));
        let id = stage.event_loop.connect(address, keeper);
        stage.turn();
        stage.network.outgoing_to(address).expect("the loop has begun to connect").establish();
        Self { id, messages }
    }

    /// Whom to post to.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Takes what was posted since this was last called.
    #[must_use]
    pub fn take(&self) -> Vec<Message> {
        self.messages.take()
    }
}

struct Keeper(Rc<RefCell<Vec<Message>>>);

impl Protocol for Keeper {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_message(&mut self, _: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.0.borrow_mut().push(message);
        Ok(())
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("id", &self.id).field("messages", &self.messages).finish_non_exhaustive()
    }
}
