//! Places that are used again, each as large as what it holds and no larger.
//!
//! For what every connection has: a slab keeps a word or two beside each entry, to know the vacant ones by.

use crate::id::index32;
use crate::timer::NONE;

/// What a [`Pool`] holds: one of its values says that a place is vacant, and which is the next.
pub(crate) trait Place {
    fn vacant(next: u32) -> Self;

    /// The next vacant place, if this one is vacant.
    fn next_vacant(&self) -> Option<u32>;
}

/// A slab whose vacant places are a list through the places themselves, the last vacated first.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    places: Vec<T>,
    vacant: u32,
    len: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { places: Vec::new(), vacant: NONE, len: 0 }
    }
}

impl<T: Place> Pool<T> {
    /// How many places are taken.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let index = self.vacant;
        match self.places.get_mut(index as usize) {
            Some(place) => {
                self.vacant = place.next_vacant().unwrap_or(NONE);
                *place = value;
                index
            }
            None => {
                self.places.push(value);
                index32(self.places.len() - 1)
            }
        }
    }

    /// # Panics
    ///
    /// If there is no such place. It must be taken.
    pub(crate) fn remove(&mut self, index: u32) -> T {
        self.len -= 1;
        let value = std::mem::replace(&mut self.places[index as usize], T::vacant(self.vacant));
        debug_assert!(value.next_vacant().is_none());
        self.vacant = index;
        value
    }

    /// What is at `index`. Whether that is vacant, what is kept there says.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Gives back memory behind the last place that is taken.
    pub(crate) fn shrink(&mut self) {
        let taken = self.places.iter().rposition(|place| place.next_vacant().is_none());
        self.places.truncate(taken.map_or(0, |last| last + 1));
        self.places.shrink_to_fit();
        self.vacant = NONE;
        for (index, place) in self.places.iter_mut().enumerate().rev() {
            if place.next_vacant().is_some() {
                *place = T::vacant(self.vacant);
                self.vacant = index32(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Number {
        Taken(u32),
        Vacant(u32),
    }

    impl Place for Number {
        fn vacant(next: u32) -> Self {
            Self::Vacant(next)
        }

        fn next_vacant(&self) -> Option<u32> {
            if let Self::Vacant(next) = *self { Some(next) } else { None }
        }
    }

    #[test]
    fn the_last_vacated_place_is_used_first() {
        let mut pool = Pool::default();
        let taken = [0, 1, 2, 3].map(|number| pool.insert(Number::Taken(number)));
        assert_eq!(taken, [0, 1, 2, 3]);
        assert_eq!(pool.remove(1), Number::Taken(1));
        assert_eq!(pool.remove(3), Number::Taken(3));
        assert_eq!(pool.len(), 2);
        assert_eq!([4, 5, 6].map(|number| pool.insert(Number::Taken(number))), [3, 1, 4]);
        assert_eq!((pool.get(1), pool.len()), (Some(&Number::Taken(5)), 5));
    }

    #[test]
    fn memory_behind_the_last_is_given_back_and_the_gaps_before_it_are_kept() {
        let mut pool = Pool::default();
        for number in 0..1000 {
            pool.insert(Number::Taken(number));
        }
        for index in (0..1000).filter(|index| ![3, 5].contains(index)) {
            pool.remove(index);
        }
        pool.shrink();
        assert_eq!((pool.len(), pool.places.len()), (2, 6));
        assert!(pool.capacity() < 10, "{}", pool.capacity());
        let mut used = [7, 8, 9, 10, 11].map(|number| pool.insert(Number::Taken(number)));
        used.sort_unstable();
        assert_eq!(used, [0, 1, 2, 4, 6]);
        assert_eq!([3, 5].map(|kept| pool.get(kept)), [Some(&Number::Taken(3)), Some(&Number::Taken(5))]);
        (0..7).for_each(|index| {
            let _ = pool.remove(index);
        });
        pool.shrink();
        assert_eq!((pool.len(), pool.capacity()), (0, 0));
    }
}
