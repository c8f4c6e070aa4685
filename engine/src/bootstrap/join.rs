//! The whole way from open endpoints to endpoints that may be posted to.

use wavetank_contract::{EpId, Instant, MrId, QpState, RemoteKey, RemoteRegion};

use super::{BadKey, Bootstrap, BootstrapError, NamedKey, Offer};
use crate::context::{RdmaContext, RdmaOps};
use crate::driver::Driver;
use crate::local::LocalEngine;

/// A region that the peer may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// What both sides call it.
    pub name: String,
    /// Its registration, with a remote right.
    pub mr: MrId,
    /// Its length in bytes: the peer is told no more, though a registration covers whole granules.
    pub len_bytes: u64,
}

/// What one side brings. Limits are those of [`Offer`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// Open endpoints, not connected. Each gets the peer's endpoint of the same place for its peer.
    pub endpoints: Vec<EpId>,
    /// Memory that the peer may reach.
    pub shares: Vec<Share>,
    /// Anything else it should know.
    pub blob: Vec<u8>,
}

/// A region of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// What both sides call it.
    pub name: String,
    /// How it is reached from each endpoint of the plan, in its order.
    pub regions: Vec<RemoteRegion>,
}

/// What the peer brought. Its endpoints are connected with ours.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Joined {
    /// Its memory.
    pub reaches: Vec<Reach>,
    /// What it told.
    pub blob: Vec<u8>,
}

impl Joined {
    /// How a region of the peer is reached from the plan's endpoint at this place.
    pub fn region(&self, name: &str, place: usize) -> Option<RemoteRegion> {
        self.reaches.iter().find(|reach| reach.name == name)?.regions.get(place).copied()
    }
}

/// A driver that can be had between two awaits: one's own, or one shared by the tasks of a thread.
pub trait Crank<C: RdmaOps = RdmaContext> {
    /// Calls it.
    fn with<R>(&mut self, call: impl FnOnce(&mut Driver<C>) -> R) -> R;
}

impl<C: RdmaOps> Crank<C> for Driver<C> {
    fn with<R>(&mut self, call: impl FnOnce(&mut Driver<C>) -> R) -> R {
        call(self)
    }
}

impl<C: RdmaOps> Crank<C> for LocalEngine<C> {
    fn with<R>(&mut self, call: impl FnOnce(&mut Driver<C>) -> R) -> R {
        LocalEngine::with(self, call)
    }
}

/// Exchanges addresses and keys with a peer, connects every endpoint of the plan, and waits until both sides may post.
///
/// Turns the driver while endpoints shake hands, with the time from `now`; what else it has under way goes on. For a
/// `current_thread` runtime or a `LocalSet`, as contexts stay on their thread.
///
/// # Errors
/// The first thing that failed, of which the peer has been told. Endpoints are left as they are: close them.
pub async fn join<C: RdmaOps>(
    crank: &mut impl Crank<C>,
    now: impl Fn() -> Instant,
    plan: &Plan,
    bootstrap: &mut dyn Bootstrap,
) -> Result<Joined, BootstrapError> {
    let offer = crank.with(|driver| plan.offer(driver.context()));
    let offer = tell(offer, bootstrap).await?;
    let theirs = bootstrap.exchange(&offer).await?;
    let connected = crank.with(|driver| plan.connect(driver.context(), theirs));
    let joined = tell(connected, bootstrap).await?;
    loop {
        let sending = crank.with(|driver| {
            driver.turn(now());
            plan.can_send(driver.context())
        });
        if tell(sending, bootstrap).await? {
            break;
        }
        bootstrap.pause().await?;
    }
    bootstrap.confirm().await?;
    Ok(joined)
}

/// Passes a result of this side on, and tells the peer when it is an error.
async fn tell<T>(
    result: Result<T, BootstrapError>,
    bootstrap: &mut dyn Bootstrap,
) -> Result<T, BootstrapError> {
    if let Err(error) = &result
        && let Some(code) = error.refusal()
    {
        bootstrap.refuse(code, &error.to_string()).await;
    }
    result
}

impl Plan {
    /// What to hand to the peer.
    ///
    /// # Errors
    /// An endpoint that is not open, a registration without a remote right, a limit.
    pub fn offer<C: RdmaOps>(&self, context: &C) -> Result<Offer, BootstrapError> {
        let address = |ep: &EpId| context.address(*ep).ok_or(BootstrapError::NoEndpoint(*ep));
        let key = |share: &Share| {
            let Share { name, mr, len_bytes } = share.clone();
            match context.export(mr) {
                Ok(key) => Ok(NamedKey { name, key, len_bytes }),
                Err(error) => Err(BootstrapError::Key { name, why: error.into() }),
            }
        };
        let offer = Offer {
            endpoints: self.endpoints.iter().map(address).collect::<Result<_, _>>()?,
            keys: self.shares.iter().map(key).collect::<Result<_, _>>()?,
            blob: self.blob.clone(),
        };
        offer.check()?;
        Ok(offer)
    }

    /// Points every endpoint at its peer, and makes the peer's keys usable on each.
    ///
    /// # Errors
    /// The first address or key that the backend refuses, or a key that reaches less far than its owner said.
    pub fn connect<C: RdmaOps>(&self, context: &mut C, theirs: Offer) -> Result<Joined, BootstrapError> {
        let (ours, peers) = (self.endpoints.len(), theirs.endpoints.len());
        if ours != peers {
            return Err(BootstrapError::Unpaired { ours, theirs: peers });
        }
        for (ep, address) in self.endpoints.iter().copied().zip(&theirs.endpoints) {
            context.connect(ep, address).map_err(|error| BootstrapError::Connect { ep, error })?;
        }
        let mut reaches = Vec::with_capacity(theirs.keys.len());
        for NamedKey { name, key, len_bytes } in theirs.keys {
            let import = |ep: &EpId| import(context, *ep, &key, len_bytes);
            match self.endpoints.iter().map(import).collect() {
                Ok(regions) => reaches.push(Reach { name, regions }),
                Err(why) => return Err(BootstrapError::Key { name, why }),
            }
        }
        Ok(Joined { reaches, blob: theirs.blob })
    }

    /// Whether every endpoint is ready to send.
    ///
    /// # Errors
    /// [`BootstrapError::NotReached`] for one that will never be.
    pub fn can_send<C: RdmaOps>(&self, context: &C) -> Result<bool, BootstrapError> {
        let mut all = true;
        for ep in &self.endpoints {
            match context.state(*ep) {
                Some(QpState::Rts) => {}
                Some(QpState::Err) => return Err(BootstrapError::NotReached(*ep)),
                Some(_) => all = false,
                None => return Err(BootstrapError::NoEndpoint(*ep)),
            }
        }
        Ok(all)
    }
}

fn import<C: RdmaOps>(
    context: &mut C,
    ep: EpId,
    key: &RemoteKey,
    said_bytes: u64,
) -> Result<RemoteRegion, BadKey> {
    let region = context.import(ep, key)?;
    if region.len < said_bytes {
        return Err(BadKey::Short { said_bytes, has_bytes: region.len });
    }
    Ok(RemoteRegion { len: said_bytes, ..region })
}
