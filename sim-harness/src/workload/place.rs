//! Where in its region an operation goes: `place = ...` of an `[[op]]`.
//!
//! ```toml
//! place = "uniform"                           # any aligned offset, the default
//! place = "sequential"                        # each after the one before, from the start again at the end
//! place = { zipf = 0.99, objects = 1000 }     # at the start of an object, the first the most popular
//! ```
//!
//! `zipf` cuts the region into `objects` slots of equal size and draws a slot by Zipf's law (exponent 0: all
//! alike). The size then belongs to the object and not to the operation: object 7 has one size, drawn from
//! `size` by its number alone, and every operation on it moves the whole object.

use super::document::Value;
use super::error::WorkloadError;
use super::limits::{MAX_OBJECTS, MAX_ZIPF_EXPONENT};
use super::size::Sizes;
use super::topology::Region;
use super::units::Bytes;

/// A distribution of offsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Any aligned offset at which the operation fits.
    Uniform,
    /// Right after the operation before, aligned.
    Sequential,
    /// The start of one of `objects` equal slots, by Zipf's law.
    Zipf {
        /// Exponent: 0 makes all objects alike, 0.99 is the usual hot spot.
        exponent: f64,
        /// How many slots the region is cut into.
        objects: u32,
        /// Size of a slot: a multiple of the alignment.
        slot_bytes: u64,
    },
}

impl Place {
    /// Reads `place`, and checks that every size fits where it may go.
    pub(super) fn read(
        value: Option<&Value<'_>>,
        region: &Region,
        sizes: &Sizes,
        align: u64,
    ) -> Result<Place, WorkloadError> {
        let Some(value) = value else {
            return Ok(Place::Uniform);
        };
        if value.is_text() {
            return value.one_of(&[("uniform", Place::Uniform), ("sequential", Place::Sequential)]);
        }
        if !value.is_table() {
            return Err(value.error("wanted \"uniform\", \"sequential\" or { zipf = 0.99, objects = 1000 }"));
        }
        let table = value.table(&["zipf", "objects"])?;
        let exponent =
            table.need("zipf", "the exponent, as in zipf = 0.99")?.ratio(0.0..=MAX_ZIPF_EXPONENT)?;
        let count = table.need("objects", "how many objects the region is cut into")?;
        let objects = count.number(1..=MAX_OBJECTS)?;
        let slot_bytes = region.bytes / objects / align * align;
        let largest = u64::from(sizes.max());
        if slot_bytes < largest {
            let (slot, largest, name, bytes) =
                (Bytes(slot_bytes), Bytes(largest), &region.name, Bytes(region.bytes));
            return Err(count.error(format!(
                "{objects} objects leave {slot} each of region \"{name}\" ({bytes}); the largest size is {largest}"
            )));
        }
        Ok(Place::Zipf { exponent, objects: objects as u32, slot_bytes })
    }
}
