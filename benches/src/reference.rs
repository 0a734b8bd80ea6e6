//! The yardstick.

/// Ordinary code that never changes: counts the words of a fixed text in a table, by their hash. What the benches cost
/// is told as a ratio to it, so that a compiler that makes all code a little better or worse changes nothing.
pub struct Reference {
    text: Vec<u8>,
    table: Vec<u32>,
}

impl Default for Reference {
    fn default() -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut letter = || {
            state ^= state << 13; // xorshift64
            state ^= state >> 7;
            state ^= state << 17;
            let [low, ..] = state.to_le_bytes();
            if low.is_multiple_of(6) { b' ' } else { b'a' + low % 26 }
        };
        Self { text: (0..16_384).map(|_| letter()).collect(), table: vec![0; 1024] }
    }
}

impl Reference {
    /// Counts every word once more; gives the most frequent slot's count.
    #[inline(never)]
    pub fn run(&mut self) -> u32 {
        for word in self.text.split(|&byte| byte == b' ') {
            // FNV-1a
            let hash =
                word.iter().fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
            let slots = self.table.len();
            self.table[hash as usize % slots] += 1;
        }
        self.table.iter().copied().max().unwrap_or(0)
    }
}
