//! Messages that are handed on in pieces, as they arrive.

use switchboard::{Context, Failure, Input};

use crate::assembly::{Assembly, Content, Refusal};
use crate::deflate::PIECE;
use crate::utf8::{Decoder, InvalidUtf8};
use crate::{Handler, Message, Peer, Settings, WebSocket, mask};

/// The most bytes of a compressed payload that are unmasked at once. They stay where they are until they are used up, and
/// what is left unread must not be changed there: this many are copied.
const PORTION: usize = 2048;

impl<H: Handler> WebSocket<H> {
    /// Hands on the next piece of the present frame's payload, which is there. Always true.
    pub(crate) fn hand_on(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let Some(assembly) = self.state.assembly_mut() else { return Ok(true) };
        if assembly.is_compressed() {
            return self.hand_on_inflated(cx, input);
        }
        let payload = input.take(assembly.next(input.len()));
        let mut character = [0; 4];
        let (piece, last) = match assembly.piece(payload, &mut character) {
            Ok(piece) => (piece, assembly.is_complete()),
            Err(error) => return Err(self.state.refuse(cx, error)),
        };
        if last {
            self.state.take_assembly(cx);
        }
        if last || !piece.as_bytes().is_empty() {
            self.deliver_piece(cx, piece, last)?;
        }
        Ok(true)
    }

    /// The same of a compressed message: at most [`PIECE`] bytes at once, however many there will be.
    fn hand_on_inflated(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let Some((assembly, settings)) = self.state.arriving() else { return Ok(true) };
        let mut piece = [0; PIECE];
        let inflated = assembly.inflate_piece(input, &mut piece, settings);
        let frame_done = assembly.left() == 0;
        match inflated {
            Ok(piece) if !piece.as_bytes().is_empty() => self.deliver_piece(cx, piece, false).map(|()| true),
            Ok(_) if frame_done => self.frame_done(cx),
            Ok(_) => Ok(true),
            Err(refusal) => Err(self.refused(cx, refusal)),
        }
    }

    pub(crate) fn deliver_piece(
        &mut self,
        cx: &mut Context<'_>,
        piece: Message<'_>,
        last: bool,
    ) -> Result<(), Failure> {
        let handled = self.handler.on_piece(&mut Peer::new(cx, &mut self.state), piece, last);
        self.handled(cx, handled)
    }
}

impl Assembly {
    /// How many of `available` bytes are the next piece: those that complete a character, if one is begun.
    fn next(&self, available: usize) -> usize {
        match &self.content {
            Content::TextPieces(decoder) if decoder.missing() > 0 => self.here(available).min(decoder.missing()),
            _ => self.here(available),
        }
    }

    /// Unmasks and checks the next piece, where it lies. A character that was begun earlier is put into `character`.
    fn piece<'p>(&mut self, payload: &'p mut [u8], character: &'p mut [u8; 4]) -> Result<Message<'p>, InvalidUtf8> {
        self.unmask(payload);
        let ends = self.is_complete();
        let Content::TextPieces(decoder) = &mut self.content else { return Ok(Message::Binary(payload)) };
        let piece = decoder.push(payload)?;
        if ends {
            decoder.finish()?;
        }
        Ok(Message::Text(match piece.head {
            Some(head) => head.encode_utf8(character), // nothing is behind it: see `next`
            None => piece.body,
        }))
    }

    /// Inflates the next piece. It is empty once all that could be taken from `input` was.
    fn inflate_piece<'p>(
        &mut self,
        input: &mut Input<'_>,
        piece: &'p mut [u8; PIECE],
        settings: &Settings,
    ) -> Result<Message<'p>, Refusal> {
        let mut portion = [0; PORTION];
        let portion = &mut portion[..self.here(input.len()).min(PORTION)];
        portion.copy_from_slice(&input[..portion.len()]);
        mask::apply(portion, self.key());
        // A character that is begun goes on where it began.
        let begun = match &self.content {
            Content::TextPieces(decoder) => decoder.begun(),
            _ => &[],
        };
        let begun_len = begun.len();
        piece[..begun_len].copy_from_slice(begun);
        let fed = usize::from(self.is_fed);
        let (read, written) = match &mut self.incoming {
            Some(incoming) => incoming.step(&portion[fed..], &mut piece[begun_len..])?,
            None => (portion.len() - fed, 0),
        };
        self.add_plain(written, settings).map_err(Refusal::Limit)?;
        // The handler may pause with what it is given now. There is always a byte left, then, to go on with.
        self.is_fed = written > 0 && fed + read > 0;
        let taken = fed + read - usize::from(self.is_fed);
        input.take(taken);
        self.passed(taken);
        let plain = &piece[..if written > 0 { begun_len + written } else { 0 }];
        let Content::TextPieces(decoder) = &mut self.content else { return Ok(Message::Binary(plain)) };
        if written > 0 {
            *decoder = Decoder::new();
        }
        Ok(Message::Text(decoder.push(plain).map_err(Refusal::Text)?.body))
    }
}
