//! The same seed is the same run.
