//! How many bytes an operation moves: `size = ...` of an `[[op]]`.
//!
//! ```toml
//! size = "8KiB"                                     # always this
//! size = { uniform = ["512", "64KiB"] }             # any byte count from the first to the second
//! size = { uniform = ["4KiB", "64KiB"], step = "4KiB" }
//! size = { list = [["4KiB", 3], ["8KiB", 1]] }      # these, by weight
//! ```

use wavetank_contract::chance::{Choices, Site};

use super::document::Value;
use super::error::WorkloadError;
use super::limits::{MAX_OP_BYTES, MAX_SIZE_LIST, MAX_WEIGHT};
use super::weights::{Weights, below};

/// A distribution of sizes in bytes, none of them 0 and none above [`MAX_OP_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Fixed(u32),
    /// `min + step * k` for every `k` below `steps`.
    Uniform {
        min: u32,
        step: u32,
        steps: u32,
    },
    /// Smallest first, so that the quiet choice is the smallest.
    List {
        sizes: Vec<u32>,
        weights: Weights,
    },
}

impl Sizes {
    /// Always `bytes`.
    pub(super) fn fixed(bytes: u32) -> Sizes {
        Sizes(Shape::Fixed(bytes))
    }

    pub(super) fn read(value: &Value<'_>) -> Result<Sizes, WorkloadError> {
        if !value.is_table() {
            return Ok(Sizes::fixed(size(value)?));
        }
        let table = value.table(&["uniform", "step", "list"])?;
        match (table.get("uniform"), table.get("list")) {
            (Some(bounds), None) => uniform(&bounds, table.get("step").as_ref()),
            (None, Some(list)) => match table.get("step") {
                Some(step) => Err(step.error("a list has no step; remove it")),
                None => listed(&list),
            },
            _ => Err(value.error("give exactly one of uniform and list")),
        }
    }

    /// The smallest size it gives.
    pub fn min(&self) -> u32 {
        match &self.0 {
            Shape::Fixed(bytes) => *bytes,
            Shape::Uniform { min, .. } => *min,
            Shape::List { sizes, .. } => sizes[0],
        }
    }

    /// How many different sizes it gives.
    pub(crate) fn count(&self) -> usize {
        match &self.0 {
            Shape::Fixed(_) => 1,
            Shape::Uniform { steps, .. } => *steps as usize,
            Shape::List { sizes, .. } => sizes.len(),
        }
    }

    /// The largest size it gives.
    pub fn max(&self) -> u32 {
        match &self.0 {
            Shape::Fixed(bytes) => *bytes,
            Shape::Uniform { min, step, steps } => min + step * (steps - 1),
            Shape::List { sizes, .. } => sizes[sizes.len() - 1],
        }
    }

    /// Whether it ever gives `bytes`.
    pub fn gives(&self, bytes: u64) -> bool {
        match &self.0 {
            Shape::Fixed(fixed) => bytes == u64::from(*fixed),
            Shape::Uniform { min, step, .. } => {
                let inside = (u64::from(*min)..=u64::from(self.max())).contains(&bytes);
                inside && (bytes - u64::from(*min)).is_multiple_of(u64::from(*step))
            }
            Shape::List { sizes, .. } => sizes.iter().any(|size| u64::from(*size) == bytes),
        }
    }

    /// The size, when it gives only one.
    pub(super) fn constant(&self) -> Option<u32> {
        (self.min() == self.max()).then_some(self.min())
    }

    pub(super) fn draw<C: Choices + ?Sized>(&self, choices: &mut C) -> u32 {
        match &self.0 {
            Shape::Fixed(bytes) => *bytes,
            Shape::Uniform { min, step, steps } => {
                min + step * choices.choose(Site::WorkloadSize, u64::from(*steps)) as u32
            }
            Shape::List { sizes, weights } => sizes[weights.pick(choices, Site::WorkloadSize)],
        }
    }

    /// The size at a fixed fraction of the distribution: what an object with this hash has for good.
    pub(super) fn by_hash(&self, hash: u64) -> u32 {
        match &self.0 {
            Shape::Fixed(bytes) => *bytes,
            Shape::Uniform { min, step, steps } => min + step * below(hash, u64::from(*steps)) as u32,
            Shape::List { sizes, weights } => sizes[weights.pick_by_hash(hash)],
        }
    }
}

fn size(value: &Value<'_>) -> Result<u32, WorkloadError> {
    Ok(value.bytes(1..=MAX_OP_BYTES)? as u32)
}

fn uniform(bounds: &Value<'_>, step: Option<&Value<'_>>) -> Result<Sizes, WorkloadError> {
    let [low, high] = bounds.pair("two sizes, as in [\"512\", \"64KiB\"]")?;
    let (min, max) = (size(&low)?, size(&high)?);
    if min > max {
        return Err(bounds.error("the first size is larger than the second; swap them"));
    }
    let step = step.map_or(Ok(1), size)?;
    Ok(Sizes(Shape::Uniform { min, step, steps: (max - min) / step + 1 }))
}

fn listed(list: &Value<'_>) -> Result<Sizes, WorkloadError> {
    let items = list.items()?;
    if items.len() as u64 > MAX_SIZE_LIST {
        return Err(list.error(format!("found {} sizes; wanted at most {MAX_SIZE_LIST}", items.len())));
    }
    let mut entries = Vec::with_capacity(items.len());
    for item in &items {
        let [bytes, weight] = item.pair("a size and its weight, as in [\"4KiB\", 3]")?;
        let (bytes, weight) = (size(&bytes)?, weight.number(0..=MAX_WEIGHT)?);
        if weight > 0 {
            entries.push((bytes, weight));
        }
    }
    entries.sort_unstable();
    let (sizes, weights): (Vec<u32>, Vec<u64>) = entries.into_iter().unzip();
    let weights = Weights::new(&weights).ok_or_else(|| list.error("no size has a weight above 0"))?;
    Ok(Sizes(Shape::List { sizes, weights }))
}
