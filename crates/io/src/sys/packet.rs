//! Socket options and addresses of packet sockets (`linux/if_packet.h`) that no library wraps.

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::from_mut;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

/// Super-packets of 64 KB fill the default buffer at once.
const RECEIVE_BUFFER: usize = 32 << 20;
const SEND_BUFFER: usize = 8 << 20;

/// A packet socket that hears nothing until it is bound.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Packet, SockType::Raw, flags, None)?)
}

/// Sets the options that every socket has: virtio-net header, VLAN tags as auxiliary data, no copies of what leaves by
/// the interface, and room for bursts.
pub(crate) fn prepare(socket: &OwnedFd) -> io::Result<()> {
    for option in [libc::PACKET_VNET_HDR, libc::PACKET_AUXDATA, libc::PACKET_IGNORE_OUTGOING] {
        set(socket, option, &c_int::from(true))?;
    }
    setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    setsockopt(socket, sockopt::SndBufForce, &SEND_BUFFER)?;
    Ok(())
}

/// Has frames go out past the queueing discipline, as a port wants it.
pub(crate) fn bypass_queue(socket: &OwnedFd) -> io::Result<()> {
    set(socket, libc::PACKET_QDISC_BYPASS, &c_int::from(true))
}

/// Makes the interface accept frames to any MAC address while the socket lives.
pub(crate) fn promiscuous(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: index.cast_signed(),
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).expect("the constant is 1"),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Starts hearing all protocols on the interface.
pub(crate) fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("the constant is 17"),
        sll_protocol: u16::try_from(libc::ETH_P_ALL).expect("the constant is 3").to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a complete `sockaddr_ll`, its length is the one given, and it outlives the call.
    let result = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length_of::<libc::sockaddr_ll>())
    };
    check(result)
}

/// Whether the interface that the socket was bound to has been deleted.
pub(crate) fn is_orphan(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: `sockaddr_ll` is plain old data, for which zeros are a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = length_of::<libc::sockaddr_ll>();
    // SAFETY: the kernel writes at most `length` bytes, the size of the structure.
    let result =
        unsafe { libc::getsockname(socket.as_raw_fd(), from_mut(&mut address).cast(), &raw mut length) };
    check(result).is_ok() && address.sll_ifindex == -1
}

/// Frames that did not fit into the receive buffer since the last call.
pub(crate) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = length_of::<libc::tpacket_stats>();
    // SAFETY: the kernel writes at most `length` bytes, the size of the structure.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            from_mut(&mut statistics).cast(),
            &raw mut length,
        )
    };
    check(result).map(|()| statistics.tp_drops.into())
}

/// Sets an option of level `SOL_PACKET` whose value is plain old data.
fn set<T: Copy>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a value that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            length_of::<T>(),
        )
    };
    check(result)
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("socket structures are small")
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
