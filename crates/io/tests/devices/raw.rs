//! Silent namespaces, veth pairs and raw sockets: a guest that is played.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use palisade_io::{
    Burst, Namespace, NetworkSetup, PacketSpec, Port, RawSocket, TakeoverMethod, TapSpec, VethSpec,
    make_veth, namespaces, open_packet, open_tap,
};
use palisade_packet::{MacAddr, VnetHeader};

use crate::support::{Kind, receive_until, send, within};

/// A port and the raw socket of its guest, in namespaces of their own.
struct Played {
    port: Port,
    guest: RawSocket,
    _namespaces: [Namespace; 2],
}

fn name(tag: &str) -> String {
    format!("pal-io-{}-{tag}", std::process::id())
}

fn play(kind: Kind, tag: &str) -> Played {
    let host = Namespace::silent(&name(&format!("{tag}-host"))).unwrap();
    let guest = Namespace::silent(&name(&format!("{tag}-guest"))).unwrap();
    let (netns, mac) = (Some(guest.name().to_owned()), MacAddr([2, 0, 0, 0, 0, 9]));
    let port = match kind {
        Kind::Tap => {
            let setup = Some(NetworkSetup::default());
            let device = "eth0".to_owned();
            open_tap(&TapSpec { device, netns, mac, mtu: 65_521, offload: true, setup }).unwrap()
        }
        Kind::Packet => {
            let (device, peer) = ("h0".to_owned(), "eth0".to_owned());
            let host = Some(host.name().to_owned());
            let peer_netns = guest.name().to_owned();
            let spec =
                VethSpec { device: device.clone(), netns: host.clone(), peer, peer_netns, mac, mtu: 65_535 };
            make_veth(&spec).unwrap();
            let takeover = TakeoverMethod::Auto;
            open_packet(&PacketSpec { device, netns: host, mtu: 65_535, offload: true, takeover }).unwrap()
        }
    };
    let socket = RawSocket::open(Some(guest.name()), "eth0").unwrap();
    Played { port, guest: socket, _namespaces: [guest, host] }
}

/// A TCP frame of 30,000 bytes in segments of 1,400, its checksum partial.
fn segments() -> (VnetHeader, Vec<u8>) {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 9, 0x08, 0x00];
    frame.extend([0x45, 0, 0x75, 0x58, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 1, 10, 10, 0, 2, 10]);
    frame.extend([0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0x50, 0x10, 0xff, 0xff, 0x12, 0x34, 0, 0]);
    frame.resize(54 + 30_000, 7);
    let vnet =
        VnetHeader { flags: 1, gso_type: 1, hdr_len: 54, gso_size: 1400, csum_start: 34, csum_offset: 16 };
    (vnet, frame)
}

fn crosses_unchanged(kind: Kind, tag: &str) {
    let Played { mut port, guest, _namespaces } = play(kind, tag);
    let (vnet, frame) = segments();
    let mut odd = frame[..61].to_vec();
    odd[12..14].copy_from_slice(&[0x88, 0xb5]);
    for (vnet, frame) in [(VnetHeader::default(), &odd), (vnet, &frame)] {
        guest.send(vnet, frame).unwrap();
        let out = receive_until(&mut port, "frame of the guest", |got, info| Some((info.vnet, got.to_vec())));
        assert_eq!(out, (vnet, frame.clone()), "{kind:?}, from the guest");
        send(&port, vnet, frame).unwrap();
        let mut burst = Burst::new();
        within("frame of the port", || guest.receive(&mut burst).unwrap().checked_sub(1));
        let (got, info) = burst.get(0).unwrap();
        assert_eq!((info.vnet, got), (vnet, &frame[..]), "{kind:?}, to the guest");
    }
    assert_eq!(guest.lost().unwrap(), 0);
}

#[test]
fn frames_cross_a_tap_unchanged() {
    crosses_unchanged(Kind::Tap, "raw-tap");
}

#[test]
fn frames_cross_a_veth_unchanged() {
    crosses_unchanged(Kind::Packet, "raw-veth");
}

/// An ordinary namespace would send router solicitations and listener reports within the first second.
#[test]
fn a_silent_namespace_says_nothing_by_itself() {
    for (kind, tag) in [(Kind::Tap, "hush-tap"), (Kind::Packet, "hush-veth")] {
        let Played { mut port, guest, _namespaces } = play(kind, tag);
        // What an ordinary guest would answer: a question for an address, and a packet to nobody.
        let (_, frame) = segments();
        send(&port, VnetHeader::default(), &frame[..60]).unwrap();
        let mut heard = [PollFd::new(port.receive.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut heard, PollTimeout::from(1500u16)).unwrap(), 0, "{kind:?}");
        let mut burst = Burst::new();
        assert_eq!(port.receive.receive(&mut burst).unwrap(), 0);
        assert_eq!(guest.lost().unwrap(), 0);
    }
}

#[test]
fn what_a_frame_cannot_be_is_refused_at_once() {
    for (kind, tag) in [(Kind::Tap, "no-tap"), (Kind::Packet, "no-veth")] {
        let played = play(kind, tag);
        let refusal = |vnet, frame: &[u8]| played.guest.send(vnet, frame).unwrap_err().raw_os_error();
        assert_eq!(refusal(VnetHeader::default(), &[0; 13]), Some(libc::EINVAL), "{kind:?}");
        assert_eq!(refusal(VnetHeader::default(), &vec![0; 65_560]), Some(libc::EMSGSIZE), "{kind:?}");
        let nonsense = VnetHeader { flags: 1, csum_start: 900, ..VnetHeader::default() };
        assert_eq!(refusal(nonsense, &[0; 60]), Some(libc::EINVAL), "{kind:?}");
    }
}

#[test]
fn a_namespace_is_there_as_long_as_its_value() {
    let listed = |name: &str| namespaces().unwrap().iter().any(|known| known == name);
    let made = Namespace::silent(&name("gone")).unwrap();
    assert!(listed(made.name()));
    assert!(Namespace::silent(made.name()).is_err(), "the name is taken");
    assert!(listed(made.name()), "and stays with its owner");
    std::mem::forget(made);
    drop(Namespace::adopt(&name("gone")));
    assert!(!listed(&name("gone")));
    assert!(Namespace::silent("a/b").is_err());
}
