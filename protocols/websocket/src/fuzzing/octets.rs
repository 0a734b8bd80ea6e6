//! A fuzz target's input, as a list of choices.

/// What is left of the input.
pub(super) struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next choice; `None` at the input's end.
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next choice; 0 at the input's end, so that whatever has been begun can be finished.
    pub(super) fn choice(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    /// The next two choices as one.
    pub(super) fn wide_choice(&mut self) -> u16 {
        u16::from_be_bytes([self.choice(), self.choice()])
    }

    /// At most `count` bytes of the input as they are.
    pub(super) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
