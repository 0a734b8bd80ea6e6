//! The ground: places, distances, steps, and what is seen from where.

use crate::datagrams::{NEAREST, Place, Seen};

pub(crate) const WIDTH: u16 = 16_000;
pub(crate) const HEIGHT: u16 = 9_000;
/// How far a player can move in a tick, whatever it wants.
pub(crate) const STEP: u32 = 40;
/// The side of a cell of the ground, and how many there are in a row and in all.
const CELL: u16 = 2_000;
const COLUMNS: u16 = WIDTH / CELL + 1;
pub(crate) const CELLS: usize = (COLUMNS * (HEIGHT / CELL + 1)) as usize;

/// The number of the cell that a place is in, and the place in its middle.
pub(crate) fn cell(at: Place) -> (usize, Place) {
    let (column, row) = (at.0 / CELL, at.1 / CELL);
    (usize::from(row * COLUMNS + column), (column * CELL + CELL / 2, row * CELL + CELL / 2))
}

/// A step from one place towards another.
pub(crate) fn step(from: Place, to: Place) -> Place {
    let distance = squared_distance(from, to).isqrt();
    if distance <= STEP {
        return to;
    }
    (part_of_way(from.0, to.0, distance), part_of_way(from.1, to.1, distance))
}

/// Writes who is nearest to a place. The order of `seen` changes.
pub(crate) fn look(from: Place, seen: &mut [Seen], out: &mut Vec<u8>) {
    if seen.len() > NEAREST {
        seen.select_nth_unstable_by_key(NEAREST, |seen| squared_distance(seen.at, from));
    }
    seen.iter().take(NEAREST).for_each(|seen| out.extend_from_slice(&seen.encoded()));
}

pub(crate) fn squared_distance(a: Place, b: Place) -> u32 {
    let (x, y) = (u32::from(a.0.abs_diff(b.0)), u32::from(a.1.abs_diff(b.1)));
    x * x + y * y
}

/// From one coordinate towards another, as far as a step takes of the whole distance.
fn part_of_way(from: u16, to: u16, distance: u32) -> u16 {
    let part = u32::from(from.abs_diff(to)) * STEP / distance;
    let part = u16::try_from(part).unwrap_or(u16::MAX);
    if to > from { from.saturating_add(part) } else { from.saturating_sub(part) }
}
