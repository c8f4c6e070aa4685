//! Reads needles through an engine on the same machine, without a copy.
