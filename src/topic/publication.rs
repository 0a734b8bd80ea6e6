//! What was published, as its subscribers get it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A payload that was published on a topic; its clones share it.
///
/// One that is kept can be posted again, to who comes later: the last known state, for example.
///
/// ```
/// use switchboard::Publication;
///
/// let publication = Publication::new("sensor/7", "21.5").with_key(7);
/// assert_eq!(publication.topic(), "sensor/7");
/// assert_eq!(publication.key(), Some(7));
/// assert_eq!(&publication.payload()[..], b"21.5");
/// ```
#[derive(Clone)]
pub struct Publication(Arc<Inner>);

struct Inner {
    topic: Arc<str>,
    key: Option<u64>,
    payload: Bytes,
    attachments: OnceLock<Box<Attachment>>,
}

/// A value made of the payload, one of each type.
struct Attachment {
    value: Box<dyn Any + Send + Sync>,
    next: OnceLock<Box<Attachment>>,
}

impl Publication {
    /// What one takes besides its payload, and the names that topics have.
    pub(crate) const SIZE: usize = size_of::<Inner>() + 2 * size_of::<usize>();

    /// A publication of one's own, to be posted to somebody, or handed to a protocol in a test.
    #[must_use]
    pub fn new(topic: &str, payload: impl Into<Bytes>) -> Self {
        Self::on(topic.into(), None, payload.into())
    }

    /// The same with a key.
    #[must_use]
    pub fn with_key(self, key: u64) -> Self {
        Self::on(Arc::clone(&self.0.topic), Some(key), self.0.payload.clone())
    }

    pub(crate) fn on(topic: Arc<str>, key: Option<u64>, payload: Bytes) -> Self {
        Self(Arc::new(Inner { topic, key, payload, attachments: OnceLock::new() }))
    }

    /// The topic it was published on.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// What it was [keyed](crate::Core::publish_keyed) with.
    #[must_use]
    pub fn key(&self) -> Option<u64> {
        self.0.key
    }

    /// What was published.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    /// What `make` makes of it: once, for whichever subscriber is the first to ask for a `T`; all others get the same.
    /// It goes with the publication, and is not counted against the loop's memory. So what all of them would do for
    /// themselves (parse it, put a frame around it, compress it) is done once. `T` should be a type of the caller's own,
    /// for others may have attachments, too.
    ///
    /// ```
    /// use switchboard::Publication;
    ///
    /// struct Shouted(String);
    ///
    /// fn shouted(publication: &Publication) -> &str {
    ///     let make = |payload: &[u8]| Shouted(String::from_utf8_lossy(payload).to_uppercase());
    ///     &publication.attachment(|publication| make(publication.payload())).0
    /// }
    ///
    /// let publication = Publication::new("room", "hello");
    /// assert_eq!(shouted(&publication), "HELLO");
    /// assert!(std::ptr::eq(shouted(&publication), shouted(&publication.clone())));
    /// ```
    ///
    /// # Panics
    ///
    /// If `make` itself asks for an attachment of the same publication that is not there yet (or it waits for ever).
    pub fn attachment<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> &T {
        let mut make = Some(make);
        let mut place = &self.0.attachments;
        loop {
            let attachment = place.get_or_init(|| {
                let make = make.take().expect("whoever has made it finds it");
                Box::new(Attachment { value: Box::new(make(self)), next: OnceLock::new() })
            });
            match attachment.value.downcast_ref() {
                Some(value) => return value,
                None => place = &attachment.next,
            }
        }
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { topic, key, payload, .. } = &*self.0;
        f.debug_struct("Publication").field("topic", topic).field("key", key).field("payload", payload).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_attached_once() {
        let publication = Publication::new("t", "payload");
        let mut made = 0;
        for _ in 0..3 {
            let text: &String = publication.attachment(|it| {
                made += 1;
                format!("{:?}", it.payload())
            });
            assert_eq!(text, "b\"payload\"");
            let len: &usize = publication.attachment(|it| {
                made += 1;
                it.payload().len()
            });
            assert_eq!(*len, 7);
        }
        assert_eq!(made, 2);
    }

    #[test]
    fn threads_share_what_is_attached() {
        let publication = Publication::new("t", "payload");
        let made = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    publication.attachment(|_| made.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
