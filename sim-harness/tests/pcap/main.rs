//! Captures: what is written, and that Wireshark's `tshark` reads the same out of it.

mod file;
mod packets;
mod tshark;
mod wire;
