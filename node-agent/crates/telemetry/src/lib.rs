//! Placeholder front page; replaced by the first real slice.
#![forbid(unsafe_code)]
