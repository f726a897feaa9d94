//! Joins two ports: what comes out of one goes into the other. For measuring what a port costs by itself.
//!
//! ```sh
//! cross_connect tap:NETNS:DEVICE:ADDRESS/PREFIX tap:NETNS:DEVICE:ADDRESS/PREFIX
//! cross_connect packet:NETNS:DEVICE packet:NETNS:DEVICE
//! ```

use std::error::Error;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_io::{
    Burst, DefaultRoutes, NetworkSetup, Outgoing, PacketSpec, Port, TakeoverMethod, TapSpec, Transmit,
    open_packet, open_tap,
};
use palisade_packet::MacAddr;

const MTU: u16 = 1500;

fn main() -> Result<(), Box<dyn Error>> {
    let mut ports = Vec::new();
    for (text, last) in std::env::args().skip(1).zip(1..) {
        ports.push(open(&text, last)?);
    }
    let [a, b] = &mut ports[..] else { return Err("two ports are needed".into()) };
    let mut burst = Burst::new();
    let mut lost = 0u64;
    loop {
        let moved =
            step(a, &*b.transmit, &mut burst, &mut lost)? + step(b, &*a.transmit, &mut burst, &mut lost)?;
        if moved == 0 {
            wait(a, b)?;
        }
    }
}

fn open(text: &str, last: u8) -> Result<Port, Box<dyn Error>> {
    let parts: Vec<_> = text.split(':').collect();
    match parts[..] {
        ["tap", netns, device, address] => Ok(open_tap(&TapSpec {
            device: device.to_owned(),
            netns: Some(netns.to_owned()),
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            mtu: MTU,
            offload: true,
            setup: Some(NetworkSetup { addresses: vec![address.parse()?], routes: DefaultRoutes::None }),
        })?),
        ["packet", netns, device] => Ok(open_packet(&PacketSpec {
            device: device.to_owned(),
            netns: Some(netns.to_owned()),
            mtu: MTU,
            offload: true,
            takeover: TakeoverMethod::Auto,
        })?),
        _ => {
            Err(format!("`{text}` is neither tap:NETNS:DEVICE:ADDRESS/PREFIX nor packet:NETNS:DEVICE").into())
        }
    }
}

fn step(
    from: &mut Port,
    to: &dyn Transmit,
    burst: &mut Burst,
    lost: &mut u64,
) -> Result<usize, Box<dyn Error>> {
    let received = from.receive.receive(burst)?;
    if received > 0 {
        let mut outgoing = Vec::with_capacity(received);
        outgoing.extend(burst.iter().map(|(frame, info)| Outgoing::new(info.vnet, frame)));
        to.transmit(&outgoing, &mut |_, _| *lost += 1);
    }
    Ok(received)
}

fn wait(a: &Port, b: &Port) -> nix::Result<()> {
    let mut ready = [a, b].map(|port| PollFd::new(port.receive.as_fd(), PollFlags::POLLIN));
    poll(&mut ready, PollTimeout::NONE).map(|_| ())
}
