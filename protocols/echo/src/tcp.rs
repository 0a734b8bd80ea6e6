//! Echo on a connection.

use switchboard::{Context, Failure, Input, Protocol};

/// Sends back every byte it is sent (RFC 862, TCP).
///
/// It reads no faster than the peer takes the echo: with more than half of
/// [`Limits::high_water`](switchboard::Limits::high_water) waiting it stops reading, and it never
/// has more than all of that wait, however much arrives at once. A peer that never reads so stalls
/// itself, and the runtime's write-stall timeout ends it.
///
/// The peer's half-close is answered by one, when everything is echoed.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpEcho;

impl Protocol for TcpEcho {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if cx.send_back(input) { Ok(()) } else { Self::echo_as_room_allows(cx, input) }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        // Something is left only if this took over a connection with output waiting (a switch).
        cx.send(rest.take_all());
        cx.finish();
        Ok(())
    }
}

impl TcpEcho {
    #[cold]
    #[inline(never)]
    fn echo_as_room_allows(cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while cx.has_room() {
            let room = cx.limits().high_water - cx.backlog();
            cx.send(input.take(input.len().min(room)));
            if input.is_empty() {
                return Ok(());
            }
        }
        cx.pause_reading();
        Ok(())
    }
}
