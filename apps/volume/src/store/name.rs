//! Names of volumes: a number, and a collection that stands before it.

use std::fmt;

/// A volume's number: unique in a cluster, so within a server at any rate.
///
/// Source: `weed/storage/needle/volume_id.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u32);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a volume's files are called before their extension: `[collection_]id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName {
    /// The collection; empty for the default one. May hold `_` itself.
    pub collection: String,
    /// The number.
    pub id: VolumeId,
}

impl VolumeName {
    /// Splits at the last underscore; `None` when no number follows.
    ///
    /// Source: `weed/storage/disk_location.go`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (collection, number) = name.rsplit_once('_').unwrap_or(("", name));
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { collection: collection.to_owned(), id: VolumeId(number.parse().ok()?) })
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.collection.is_empty() { "" } else { "_" };
        write!(f, "{}{separator}{}", self.collection, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_ends_at_the_last_underscore() {
        let parsed = |name| VolumeName::parse(name).map(|name| (name.collection, name.id.0));
        assert_eq!(parsed("17"), Some((String::new(), 17)));
        assert_eq!(parsed("photos_17"), Some(("photos".to_owned(), 17)));
        assert_eq!(parsed("my_old_photos_17"), Some(("my_old_photos".to_owned(), 17)));
        for none in ["", "photos", "photos_", "photos_x7", "_", "+7", "4294967296", "1_-2"] {
            assert_eq!(parsed(none), None, "{none}");
        }
        assert_eq!(VolumeName { collection: "a_b".to_owned(), id: VolumeId(3) }.to_string(), "a_b_3");
    }
}
