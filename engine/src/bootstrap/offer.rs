//! What is exchanged: where endpoints are, which memory may be reached, and bytes of the application.

use wavetank_contract::{EndpointAddress, RemoteKey};

use super::garbage::BadOffer;
use super::text::is_seen;

/// A region that the peer may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// What both sides call it: 1 to [`NamedKey::NAME_BYTES_MAX`] bytes without control characters.
    pub name: String,
    /// The right to it.
    pub key: RemoteKey,
    /// Its length in bytes, as its owner means it.
    pub len_bytes: u64,
}

impl NamedKey {
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 64;
}

/// One side's half of an exchange. Endpoint `i` of one side is connected with endpoint `i` of the other.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Offer {
    /// Our endpoints: 1 to [`Offer::ENDPOINTS_MAX`], as many as the peer has.
    pub endpoints: Vec<EndpointAddress>,
    /// Our memory: at most [`Offer::KEYS_MAX`], no name twice.
    pub keys: Vec<NamedKey>,
    /// Anything else: at most [`Offer::BLOB_BYTES_MAX`] bytes.
    pub blob: Vec<u8>,
}

impl Offer {
    pub(super) fn bytes_allocated(&self) -> usize {
        self.endpoints.capacity() * size_of::<EndpointAddress>()
            + self.keys.capacity() * size_of::<NamedKey>()
            + self.keys.iter().map(|key| key.name.capacity()).sum::<usize>()
            + self.blob.capacity()
    }

    /// Most endpoints.
    pub const ENDPOINTS_MAX: usize = 128;
    /// Most keys.
    pub const KEYS_MAX: usize = 64;
    /// Longest blob, in bytes.
    pub const BLOB_BYTES_MAX: usize = 4096;

    /// Whether it keeps the limits: ours before it is sent, a peer's before it is believed.
    ///
    /// # Errors
    /// The first limit it breaks.
    pub fn check(&self) -> Result<(), BadOffer> {
        BadOffer::within("endpoints", self.endpoints.len(), 1, Offer::ENDPOINTS_MAX)?;
        BadOffer::within("keys", self.keys.len(), 0, Offer::KEYS_MAX)?;
        BadOffer::within("bytes of blob", self.blob.len(), 0, Offer::BLOB_BYTES_MAX)?;
        for (index, NamedKey { name, .. }) in self.keys.iter().enumerate() {
            BadOffer::within("bytes of a key's name", name.len(), 1, NamedKey::NAME_BYTES_MAX)?;
            if !name.chars().all(is_seen) {
                return Err(BadOffer::Name(index));
            }
            if self.keys[..index].iter().any(|earlier| earlier.name == *name) {
                return Err(BadOffer::Twice(name.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> NamedKey {
        let key = RemoteKey::from_bytes(&[1]).expect("short");
        NamedKey { name: name.into(), key, len_bytes: 1 }
    }

    fn offer(endpoints: usize, names: &[&str], blob: usize) -> Offer {
        let address = EndpointAddress::from_bytes(&[2]).expect("short");
        Offer {
            endpoints: vec![address; endpoints],
            keys: names.iter().copied().map(key).collect(),
            blob: vec![0; blob],
        }
    }

    #[test]
    fn an_offer_at_its_limits_is_good_and_one_past_any_of_them_names_it() {
        let longest = "n".repeat(64);
        assert_eq!(offer(128, &["a", &longest], 4096).check(), Ok(()));
        let bad = [
            (offer(0, &[], 0), "0 endpoints; 1 to 128"),
            (offer(129, &[], 0), "129 endpoints"),
            (offer(1, &["x"; 65], 0), "65 keys"),
            (offer(1, &[], 4097), "4097 bytes of blob"),
            (offer(1, &[""], 0), "0 bytes of a key's name"),
            (offer(1, &[&format!("{longest}n")], 0), "65 bytes of a key's name"),
            (offer(1, &["a", "b\n"], 0), "key 1 has a name"),
            (offer(1, &["a", "b", "a"], 0), "\"a\" names two keys"),
        ];
        for (offer, part) in bad {
            let said = offer.check().expect_err(part).to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
