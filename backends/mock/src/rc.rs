//! The reliable-connected service, in the three roles that rxe names: the [`requester`] sends requests, the
//! [`responder`] carries them out and answers, the [`completer`] makes completions of the answers.
//!
//! Go-back-N: a lost packet makes the requester start again from the oldest unacknowledged PSN; payload is read from
//! memory anew at each transmission.

pub(crate) mod completer;
pub(crate) mod placement;
pub(crate) mod requester;
pub(crate) mod responder;
