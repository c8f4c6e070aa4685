//! Two simulated nodes, one connection, one READ: the engine without the harness.
//!
//! `cargo run --example one_read -p wavetank-engine`

use std::error::Error;

use wavetank_contract::{Access, EndpointSpec, Instant, Op, PdId, Quiet, RegionSpec, Wake};
use wavetank_engine::memory::Arena;
use wavetank_engine::{Driver, DriverConfig, Port, PortConfig, RdmaContext, RdmaOps, TransferSpec};
use wavetank_mock::{Fabric, Profile};

fn main() -> Result<(), Box<dyn Error>> {
    // A network with two nodes. The fabric owns time; nothing happens until it is stepped.
    let mut fabric = Fabric::new(Profile::CX6);
    let mut node = || {
        let context = RdmaContext::from(Port::new(fabric.add_node(), PortConfig::default()));
        Driver::new(context, DriverConfig::default())
    };
    let (mut client, mut storage) = (node(), node());

    // The storage node registers memory and puts something into it.
    let context = storage.context();
    let region = context.allocate(&RegionSpec::new(1 << 20))?;
    let mr = context.register(&region, PdId::default(), Access::REMOTE_READ)?;
    region.write(4096, b"the bytes of another machine");
    let key = context.export(mr)?;
    let cq = context.open_cq(16)?;
    let their_ep = context.open(&EndpointSpec::new(cq))?;
    let their_address = context.address(their_ep).ok_or("no address")?;

    // The client has an arena to receive into, and connects. Addresses and keys travel by any means; here, a variable.
    let context = client.context();
    let memory = context.allocate(&RegionSpec::new(1 << 20))?;
    let our_mr = context.register(&memory, PdId::default(), Access::LOCAL)?;
    let mut arena = Arena::new(memory, our_mr)?;
    let cq = context.open_cq(128)?;
    let ep = context.open(&EndpointSpec::new(cq))?;
    context.connect(ep, &their_address)?;
    let remote = context.import(ep, &key)?;
    let our_address = context.address(ep).ok_or("no address")?;
    storage.context().connect(their_ep, &our_address)?;

    // One READ, of any length: the driver cuts it into chunks and puts a deadline on it.
    let spec = TransferSpec {
        ep,
        op: Op::Read { remote: remote.at(4096, 28).ok_or("past the region")? },
        lease: arena.acquire(28)?,
        mr: arena.mr(),
        len: 28,
        deadline: Instant(1_000_000),
        session: None,
        tag: 0,
    };
    client.submit(fabric.now(), spec)?;

    // Turn the crank: the driver posts and polls, the fabric moves packets.
    let finished = loop {
        let wake = client.turn(fabric.now());
        if let Some(finished) = client.take_finished() {
            break finished;
        }
        if wake != Wake::Now && fabric.step(&mut Quiet).is_none() {
            return Err("nothing more will happen".into());
        }
    };
    let len = finished.result?;
    let mut bytes = [0; 28];
    finished.lease.ok_or("the device still has the lease")?.read(0, &mut bytes);
    let after = finished.finished_at.since_ns(finished.submitted_at);
    #[expect(clippy::print_stdout, reason = "an example shows what it did")]
    {
        println!("read {len} bytes in {after} virtual ns: {:?}", String::from_utf8_lossy(&bytes));
    }
    Ok(())
}
