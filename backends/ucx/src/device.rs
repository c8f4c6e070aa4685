//! A UCX device as the contract sees it.

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completions, CqId, EndpointAddress, EndpointSpec, EpId, MrId, PdId,
    QpState, Region, RegionSpec, RemoteKey, RemoteRegion, Wake, Work,
};

use crate::config::UcxConfig;
use crate::error::DeviceError;

/// An open UCX device: one worker on one transport.
#[derive(Debug)]
pub struct UcxDevice {
    caps: Caps,
}

impl UcxDevice {
    /// Opens a device.
    ///
    /// # Errors
    /// Whatever is missing or wrong, each by its name and with what mends it.
    pub fn open(config: &UcxConfig) -> Result<UcxDevice, DeviceError> {
        Err(DeviceError::Ucx { call: "open", why: config.name() })
    }
}

impl Backend for UcxDevice {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        Region::allocate(spec)
    }
    fn register(&mut self, _: &Region, _: PdId, _: Access) -> Result<MrId, RegisterError> {
        Err(RegisterError::TooMany(0))
    }
    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        Err(DeregisterError::Unknown(mr))
    }
    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        Err(KeyError::Unknown(mr))
    }
    fn import(&mut self, _: EpId, _: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        Err(KeyError::Malformed { len_bytes: 0, expected: "" })
    }
    fn open_cq(&mut self, _: u32) -> Result<CqId, OpenError> {
        Err(OpenError::NotPromised(""))
    }
    fn open(&mut self, _: &EndpointSpec) -> Result<EpId, OpenError> {
        Err(OpenError::NotPromised(""))
    }
    fn address(&self, _: EpId) -> Option<EndpointAddress> {
        None
    }
    fn connect(&mut self, ep: EpId, _: &EndpointAddress) -> Result<(), ConnectError> {
        Err(ConnectError::Unknown(ep))
    }
    fn modify(&mut self, ep: EpId, _: QpState) -> Result<(), ModifyError> {
        Err(ModifyError::Unknown(ep))
    }
    fn state(&self, _: EpId) -> Option<QpState> {
        None
    }
    fn close(&mut self, _: EpId) {}
    fn post(&mut self, ep: EpId, _: &Work<'_>) -> Result<(), PostError> {
        Err(PostError::Unknown(ep))
    }
    fn ring(&mut self, _: EpId) -> Result<(), RingError> {
        Ok(())
    }
    fn poll(&mut self, _: CqId, _: &mut Completions) -> usize {
        0
    }
    fn poll_event(&mut self) -> Option<AsyncEvent> {
        None
    }
    fn wake(&self) -> Wake {
        Wake::Idle
    }
}
