//! DEFLATE (RFC 1951) as slowly and plainly as can be: what the crate's own is compared with.

/// How far a naive reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    state: State,
    /// Bytes it went back, at most.
    distance: usize,
    /// Blocks that said that they are the last one.
    finals: usize,
    /// The last one that was read said so.
    is_final: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All is read, and the last block has ended.
    Boundary,
    /// A block, or its header, is not complete.
    Within,
    /// Not DEFLATE.
    Bad,
    /// It makes more than was wanted.
    Long,
}

impl End {
    /// Everything was read, and no block is open.
    pub(crate) fn is_boundary(&self) -> bool {
        self.state == State::Boundary
    }

    /// The same, and the last block said that it is the last one.
    pub(crate) fn is_after_final(&self) -> bool {
        self.is_boundary() && self.is_final
    }

    /// A block said that it is the last one.
    pub(crate) fn has_final(&self) -> bool {
        self.finals > 0
    }

    /// The input has an error.
    pub(crate) fn is_bad(&self) -> bool {
        self.state == State::Bad
    }

    /// The most bytes that something referred back.
    pub(crate) fn distance(&self) -> usize {
        self.distance
    }
}

/// Why reading stops.
enum Stop {
    /// The input has ended.
    Short,
    Bad,
    Long,
}

/// Where it goes, and how much may.
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    most: usize,
}

impl Output<'_> {
    fn push(&mut self, byte: u8) -> Result<(), Stop> {
        if self.bytes.len() == self.most {
            return Err(Stop::Long);
        }
        self.bytes.push(byte);
        Ok(())
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits read.
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<usize, Stop> {
        let byte = self.bytes.get(self.at / 8).ok_or(Stop::Short)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(usize::from(bit))
    }

    fn number(&mut self, bits: usize) -> Result<usize, Stop> {
        (0..bits).try_fold(0, |number, index| Ok(number | self.bit()? << index))
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// A Huffman code: for each length, the symbols in their order.
struct Code(Vec<Vec<usize>>);

impl Code {
    /// Of the lengths of the symbols' codes. `incomplete`: one code, of one bit, will do, or none.
    fn new(lengths: &[usize], incomplete: bool) -> Result<Self, Stop> {
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1);
        let mut code = vec![Vec::new(); longest + 1];
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            code[*length].push(symbol);
        }
        let taken: usize = (1..=longest).map(|length| code[length].len() << (longest - length)).sum();
        let fits = taken == 1 << longest || (incomplete && longest == 1 && taken < 2);
        if fits { Ok(Self(code)) } else { Err(Stop::Bad) }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, Stop> {
        let (mut code, mut first) = (0, 0);
        for symbols in &self.0[1..] {
            code = code << 1 | bits.bit()?;
            first <<= 1;
            if code < first + symbols.len() {
                return Ok(symbols[code - first]);
            }
            first += symbols.len();
        }
        Err(Stop::Bad)
    }
}

/// Appends what the blocks in `bytes` inflate to to `output`, to which they may refer back. A block that says it is the
/// last one is followed by others, from the next byte on (RFC 7692 §7.2.3.4).
pub(crate) fn naive_inflate(bytes: &[u8], output: &mut Vec<u8>) -> End {
    naive_inflate_within(bytes, output, usize::MAX)
}

/// The same, until `output` has `most` bytes and would have more.
pub(crate) fn naive_inflate_within(bytes: &[u8], output: &mut Vec<u8>, most: usize) -> End {
    let mut output = Output { bytes: output, most };
    let mut bits = Bits { bytes, at: 0 };
    let mut end = End { state: State::Boundary, distance: 0, finals: 0, is_final: false };
    while bits.at < 8 * bytes.len() {
        match block(&mut bits, &mut output, &mut end.distance) {
            Ok(is_final) => {
                end.is_final = is_final;
                end.finals += usize::from(is_final);
            }
            Err(stop) => {
                end.state = match stop {
                    Stop::Short => State::Within,
                    Stop::Bad => State::Bad,
                    Stop::Long => State::Long,
                };
                break;
            }
        }
    }
    end
}

/// True of a block that says that it is the last one.
fn block(bits: &mut Bits<'_>, output: &mut Output<'_>, distance: &mut usize) -> Result<bool, Stop> {
    let is_last = bits.bit()? == 1;
    match bits.number(2)? {
        0 => {
            bits.align();
            let (length, complement) = (bits.number(16)?, bits.number(16)?);
            if length != complement ^ 0xffff {
                return Err(Stop::Bad);
            }
            for _ in 0..length {
                output.push(u8::try_from(bits.number(8)?).expect("eight bits"))?;
            }
        }
        1 => {
            let lengths: Vec<usize> = (0..288).map(|symbol| [8, 9, 7, 8][fixed(symbol)]).collect();
            coded(bits, &Code::new(&lengths, false)?, &Code::new(&[5; 32], false)?, output, distance)?;
        }
        2 => {
            let (literals, distances) = dynamic(bits)?;
            coded(bits, &literals, &distances, output, distance)?;
        }
        _ => return Err(Stop::Bad),
    }
    if is_last {
        bits.align();
    }
    Ok(is_last)
}

fn fixed(symbol: usize) -> usize {
    usize::from(symbol > 143) + usize::from(symbol > 255) + usize::from(symbol > 279)
}

/// The codes of a block that has its own (RFC 1951 §3.2.7).
fn dynamic(bits: &mut Bits<'_>) -> Result<(Code, Code), Stop> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, count) = (bits.number(5)? + 257, bits.number(5)? + 1, bits.number(4)? + 4);
    if literals > 286 || distances > 30 {
        return Err(Stop::Bad);
    }
    let mut lengths = [0; 19];
    for index in &ORDER[..count] {
        lengths[*index] = bits.number(3)?;
    }
    // zlib takes a code without any symbols for one that has a zero in a single bit, and finds the fault in the lengths.
    let code = if lengths == [0; 19] { None } else { Some(Code::new(&lengths, false)?) };
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let symbol = if let Some(code) = &code { code.symbol(bits)? } else { bits.bit().map(|_| 0)? };
        let (length, times) = match symbol {
            16 => {
                let times = 3 + bits.number(2)?;
                (*lengths.last().ok_or(Stop::Bad)?, times)
            }
            17 => (0, 3 + bits.number(3)?),
            18 => (0, 11 + bits.number(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    if lengths.len() > literals + distances || lengths[256] == 0 {
        return Err(Stop::Bad);
    }
    let (literals, distances) = lengths.split_at(literals);
    Ok((Code::new(literals, true)?, Code::new(distances, true)?))
}

/// The symbols of a block, up to its end (RFC 1951 §3.2.5).
fn coded(
    bits: &mut Bits<'_>,
    literals: &Code,
    distances: &Code,
    output: &mut Output<'_>,
    farthest: &mut usize,
) -> Result<(), Stop> {
    loop {
        let symbol = literals.symbol(bits)?;
        let length = match symbol {
            0..256 => {
                output.push(u8::try_from(symbol).expect("below 256"))?;
                continue;
            }
            256 => return Ok(()),
            257..265 => symbol - 254,
            265..285 => {
                let extra = (symbol - 261) / 4;
                3 + ((4 + (symbol - 261) % 4) << extra) + bits.number(extra)?
            }
            285 => 258,
            _ => return Err(Stop::Bad),
        };
        let distance = match distances.symbol(bits)? {
            short @ 0..4 => short + 1,
            long @ 4..30 => {
                let extra = long / 2 - 1;
                1 + ((2 + long % 2) << extra) + bits.number(extra)?
            }
            _ => return Err(Stop::Bad),
        };
        if distance > output.bytes.len() {
            return Err(Stop::Bad);
        }
        *farthest = distance.max(*farthest);
        for _ in 0..length {
            output.push(output.bytes[output.bytes.len() - distance])?;
        }
    }
}
