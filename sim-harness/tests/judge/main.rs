//! The judge: it agrees where it should, finds lies where there are some, and reads what it prints.
#![allow(clippy::unwrap_used)]

mod agreement;
mod liar;
mod lies;
mod rules;
mod texts;
