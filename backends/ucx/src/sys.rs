//! x
#![allow(unsafe_code)]
#![allow(warnings)]
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
