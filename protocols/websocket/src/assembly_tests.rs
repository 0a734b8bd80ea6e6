use super::*;

fn header(opcode: OpCode, fin: bool, payload: u64) -> Header {
    Header { fin, compressed: false, opcode, mask: Some([1, 2, 3, 4]), payload }
}

fn masked(plain: &[u8]) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    mask::apply(&mut bytes, [1, 2, 3, 4]);
    bytes
}

fn absorb(assembly: &mut Assembly, bytes: &mut [u8], settings: &Settings) -> Result<(), InvalidUtf8> {
    if let Some(capacity) = assembly.capacity_for(bytes.len(), settings) {
        assembly.grow(capacity);
    }
    let capacity = assembly.capacity();
    let absorbed = assembly.absorb(bytes);
    assert_eq!(assembly.capacity(), capacity, "it grows where it is told to, and nowhere else");
    absorbed
}

#[test]
fn text_in_two_frames_cut_everywhere() {
    let text = "héllo wörld 🦀";
    let settings = Settings::default();
    for cut in 0..=text.len() {
        let mut frames = [masked(&text.as_bytes()[..cut]), masked(&text.as_bytes()[cut..])];
        let mut assembly = Assembly::new(OpCode::Text, Delivery::Whole, None);
        for (index, frame) in frames.iter_mut().enumerate() {
            assembly.begin_frame(header(OpCode::Text, index == 1, frame.len() as u64), &settings).unwrap();
            let middle = frame.len() / 2;
            absorb(&mut assembly, &mut frame[..middle], &settings).unwrap();
            absorb(&mut assembly, &mut frame[middle..], &settings).unwrap();
            assert_eq!(assembly.is_complete(), index == 1);
        }
        assert_eq!(assembly.message(), Ok(Message::Text(text)));
    }
}

#[test]
fn memory_follows_what_has_arrived() {
    let settings = Settings::default();
    let mut assembly = Assembly::new(OpCode::Binary, Delivery::Whole, None);
    assembly.begin_frame(header(OpCode::Binary, true, 10_000_000), &settings).unwrap();
    assert_eq!(assembly.capacity(), 0, "nothing has arrived");
    let mut arrived = 0;
    while assembly.left() > 0 {
        let count = assembly.here(30_000);
        absorb(&mut assembly, &mut vec![7; count], &settings).unwrap();
        arrived += count;
        assert!(assembly.capacity() <= 2 * arrived, "{} for {arrived}", assembly.capacity());
    }
    assert_eq!(assembly.capacity(), 10_000_000, "and no more than it needs in the end");
}

#[test]
fn limits() {
    let settings = Settings { max_message: 10, max_fragments: 3, ..Settings::default() };
    let mut assembly = Assembly::new(OpCode::Binary, Delivery::Whole, None);
    let too_big = |size| Err(MessageLimit::Size { size, limit: 10 });
    assert_eq!(assembly.begin_frame(header(OpCode::Binary, false, 11), &settings), too_big(11));
    assert_eq!(assembly.begin_frame(header(OpCode::Binary, false, u64::MAX >> 1), &settings), too_big(u64::MAX >> 1));
    assembly.begin_frame(header(OpCode::Binary, false, 9), &settings).unwrap();
    absorb(&mut assembly, &mut [0; 9], &settings).unwrap();
    assert_eq!(assembly.begin_frame(header(OpCode::Continuation, true, 2), &settings), too_big(11));
    assert_eq!(
        assembly.begin_frame(header(OpCode::Continuation, true, u64::MAX >> 1), &settings),
        too_big((u64::MAX >> 1) + 9)
    );
    assembly.begin_frame(header(OpCode::Continuation, false, 0), &settings).unwrap();
    assembly.begin_frame(header(OpCode::Continuation, false, 0), &settings).unwrap();
    let too_many = Err(MessageLimit::Fragments { limit: 3 });
    assert_eq!(assembly.begin_frame(header(OpCode::Continuation, true, 1), &settings), too_many);
}
