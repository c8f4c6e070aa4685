//! One client, from its need to its goodbye.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use wavetank_contract::CqId;
use wavetank_engine::bootstrap::{Bootstrap as _, RefusalCode, TcpBootstrap, join};
use wavetank_engine::{LocalEngine, RdmaOps};

use super::Need;
use super::client::speaks;
use super::control::{Control, ControlError, Message};
use super::event::Event;
use super::server::ServerConfig;
use super::tenant::{Budget, Tenant};
use crate::lab::RealTime;

/// A client whose machine went without a word is missed after this time, and so many probes in the same distance.
const KEEPALIVE: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// What all clients share.
#[derive(Debug)]
pub(super) struct House<C: RdmaOps> {
    pub(super) engine: LocalEngine<C>,
    pub(super) clock: RealTime,
    pub(super) cq: CqId,
    pub(super) budget: Rc<Budget>,
    pub(super) config: ServerConfig,
}

/// How it ended with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Goodbye,
    Vanished,
    Refused,
    Leaked,
}

impl<C: RdmaOps> House<C> {
    /// Serves one client.
    pub(super) async fn serve(
        &self,
        mut bootstrap: TcpBootstrap,
        from: SocketAddr,
        told: &dyn Fn(&Event),
    ) -> End {
        let device = bootstrap.peer().device.to_string();
        let (need, mut tenant) = match self.admit(&mut bootstrap).await {
            Ok(admitted) => admitted,
            Err(why) => {
                told(&Event::Refused { from, why });
                return End::Refused;
            }
        };
        let (regions, bytes) = (need.regions.len(), need.bytes());
        told(&Event::Joined { from, device, regions, bytes, endpoints: tenant.plan().endpoints.len() });
        let talked = self.talk(bootstrap, &mut tenant).await;
        let given_back = tenant.give_back();
        let (vanished, end) = match talked {
            Ok(mut control) if given_back.is_ok() => {
                // It may not wait for the answer.
                let _ = control.say(&Message::Bye, self.config.limit).await;
                (None, End::Goodbye)
            }
            Ok(_) => (None, End::Leaked),
            Err(error) => (Some(error.to_string()), End::Vanished),
        };
        told(&Event::Left { from, vanished, used_bytes: self.budget.used_bytes.get() });
        match given_back {
            Ok(()) => end,
            Err(what) => {
                told(&Event::Leaked { from, what });
                End::Leaked
            }
        }
    }

    /// Gives a client what it needs, and connects it.
    async fn admit(&self, bootstrap: &mut TcpBootstrap) -> Result<(Need, Tenant<C>), String> {
        if !speaks(bootstrap.peer()) {
            let why = "the client asks for no memory: it is no `wavetank replay --peer` of this version";
            bootstrap.refuse(RefusalCode::Application, why).await;
            return Err(why.to_owned());
        }
        let offer = bootstrap.hear_offer().await.map_err(|error| error.to_string())?;
        let need = Need::decode(&offer.blob).map_err(|error| error.to_string());
        let tenant = need.and_then(|need| {
            let endpoints = offer.endpoints.len();
            let House { engine, clock, cq, budget, .. } = self;
            Ok((Tenant::new(engine, *clock, budget, *cq, &need, endpoints)?, need))
        });
        let (tenant, need) = match tenant {
            Ok(tenant) => tenant,
            Err(why) => {
                bootstrap.refuse(RefusalCode::Application, &why).await;
                return Err(why);
            }
        };
        tenant.fill(self.config.canary).await;
        let (mut engine, now) = (self.engine.clone(), || self.clock.now());
        let joined = join(&mut engine, now, &tenant.plan(), bootstrap).await;
        joined.map_err(|error| error.to_string())?;
        Ok((need, tenant))
    }

    /// Answers a client until it takes leave.
    async fn talk(
        &self,
        bootstrap: TcpBootstrap,
        tenant: &mut Tenant<C>,
    ) -> Result<Control<TcpStream>, ControlError> {
        let stream = bootstrap.into_stream().map_err(|_| ControlError::Closed)?;
        keep_alive(&stream);
        let mut control = Control::new(stream);
        let limit = self.config.limit;
        control.say(&Message::Welcome, limit).await?;
        loop {
            // A run takes as long as it takes; a client that is gone closes the stream.
            match control.listen().await? {
                Message::AskDigests => {
                    let digests = tenant.digests(self.config.canary).await;
                    control.say(&Message::Digests(digests), limit).await?;
                }
                Message::Bye => return Ok(control),
                got => return Err(ControlError::unexpected(&got, "ASK DIGESTS or BYE")),
            }
        }
    }

    /// Passes on what the device says.
    pub(super) fn tell_device(&self, told: &dyn Fn(&Event)) {
        let said = self.engine.with(|driver| {
            let mut said = Vec::new();
            while let Some(event) = driver.take_event() {
                said.push(format!("{event:?}"));
            }
            while let Some(anomaly) = driver.context().take_anomaly() {
                said.push(anomaly.to_string());
            }
            said
        });
        said.into_iter().for_each(|what| told(&Event::Device { what }));
    }
}

/// Lets the system notice when the other machine is gone. Where it cannot, a lost machine is noticed when it is spoken to.
fn keep_alive(stream: &TcpStream) {
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, KEEPALIVE))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, KEEPALIVE))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, PROBES));
}
