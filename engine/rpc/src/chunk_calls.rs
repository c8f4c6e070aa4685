//! The four calls on chunks.

use crate::call::Call;
use crate::codec::{Malformed, Outcome, ReadCall, ReadReply, Reply, Request};
use crate::key::ChunkKey;
use crate::store::{ChunkStat, RemoveOrder, WriteOrder};

/// Message types of calls on chunks: `ck`, and which.
const TYPES: u16 = 0x6b00;

macro_rules! chunk_call {
    ($(#[$doc:meta])* $name:ident = $number:literal: $variant:ident($request:ty) -> $reply:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;

        impl Call for $name {
            const TYPE: u16 = TYPES + $number;
            type Request = $request;
            type Reply = Outcome<$reply>;

            fn encode_request(request: &$request) -> Vec<u8> {
                Request::$variant(*request).encode()
            }

            fn decode_request(front: &[u8]) -> Result<$request, Malformed> {
                match Request::decode(front)? {
                    Request::$variant(request) => Ok(request),
                    _ => Err(Malformed::Inside("another call stands than its message says")),
                }
            }

            fn encode_reply(reply: &Outcome<$reply>) -> Option<Vec<u8>> {
                Reply::$variant(reply.clone()).encode()
            }

            fn decode_reply(front: &[u8]) -> Result<Outcome<$reply>, Malformed> {
                match Reply::decode(front)? {
                    Reply::$variant(outcome) => Ok(outcome),
                    Reply::Unread(error) => Ok(Err(error)),
                    _ => Err(Malformed::Inside("another call is answered than was asked")),
                }
            }

            fn unread(why: Malformed) -> Outcome<$reply> {
                Err(why.into())
            }
        }
    };
}

chunk_call! {
    /// Reads part of a chunk. The reply's data goes into the memory that the request names, or with the reply if it is short.
    ReadChunk = 1: Read(ReadCall) -> ReadReply
}
chunk_call! {
    /// Writes part of a chunk, once. The data is the request's.
    WriteChunk = 2: Write(WriteOrder) -> ()
}
chunk_call! {
    /// Removes a chunk, once.
    RemoveChunk = 3: Remove(RemoveOrder) -> ()
}
chunk_call! {
    /// Looks at a chunk.
    StatChunk = 4: Stat(ChunkKey) -> ChunkStat
}
