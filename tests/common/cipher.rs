//! A layer that changes every byte by its place in the stream, both ways.

use switchboard::{Context, Failure, Inner, Input, Layer, Protocol};

/// Whoever answers a byte in its place sends it as it came, and whoever loses, repeats or moves one
/// shows. Two ends of a connection with one each undo each other's.
#[derive(Default)]
pub(crate) struct Cipher {
    opened: u8,
    sealed: u8,
}

/// Changes, or changes back, what begins at this place.
pub(crate) fn apply(position: &mut u8, bytes: &mut [u8]) {
    for byte in bytes {
        *byte ^= *position;
        *position = position.wrapping_mul(5).wrapping_add(17);
    }
}

impl<P: Protocol> Layer<P> for Cipher {
    const SEALS: bool = true;

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let bytes = input.take_all();
        apply(&mut self.opened, bytes);
        inner.feed(cx, bytes)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.feed_eof(cx)
    }

    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        apply(&mut self.sealed, plain);
        cx.send(plain);
        Ok(())
    }
}
