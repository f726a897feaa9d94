//! The ioctls of `/dev/net/tun` (`linux/if_tun.h`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::error::PortError;

mod request {
    //! Requests as the kernel defines them, checked by `nix` for the type of their argument.
    nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
    nix::ioctl_write_ptr_bad!(set_header_len, libc::TUNSETVNETHDRSZ, libc::c_int);
    nix::ioctl_write_ptr_bad!(set_send_buffer, libc::TUNSETSNDBUF, libc::c_int);
}

/// Bytes of sent frames that may wait in the guest's kernel before a frame is refused. A namespace takes a frame off
/// this account when its IP layer receives it, so the bound matters only where the TAP is forwarded to a slow device.
static SEND_BUFFER: libc::c_int = 8 << 20;

/// Checks that a text can be an interface's name.
pub(crate) fn check_name(device: &str) -> Result<(), PortError> {
    let forbidden = |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
    // `%` makes the kernel choose a number: the device would have another name than the one asked for.
    let valid = (1..libc::IFNAMSIZ).contains(&device.len())
        && !device.bytes().any(|byte| forbidden(byte) || byte == b'%')
        && !matches!(device, "." | "..");
    if valid { Ok(()) } else { Err(PortError::InvalidName { device: device.to_owned() }) }
}

/// Opens the clone device in the current thread's namespace.
pub(crate) fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")
}

/// Makes the interface; `EBUSY` if any interface has that name. The name must have passed [`check_name`].
pub(crate) fn create(file: &File, device: &str) -> io::Result<()> {
    let mut request = interface_request(device);
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    // IFF_TUN_EXCL is the sign bit of the short that holds the flags; the kernel reads them as bits.
    request.ifr_ifru.ifru_flags = u16::try_from(flags).expect("each flag is below 2^16").cast_signed();
    // SAFETY: the request is a complete `ifreq` that outlives the call.
    unsafe { request::set_interface(file.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Sets the length of the virtio-net header.
pub(crate) fn set_header_len(file: &File, len: usize) -> io::Result<()> {
    let len = libc::c_int::try_from(len).map_err(io::Error::other)?;
    // SAFETY: the argument is an int that outlives the call.
    unsafe { request::set_header_len(file.as_raw_fd(), &raw const len) }?;
    Ok(())
}

/// Bounds what may wait on the guest's side.
pub(crate) fn set_send_buffer(file: &File) -> io::Result<()> {
    // SAFETY: the argument is an int that outlives the call.
    unsafe { request::set_send_buffer(file.as_raw_fd(), &raw const SEND_BUFFER) }?;
    Ok(())
}

/// Says what the guest may leave to us; nothing if `offload` is false. Always set, since the mask is a state of the
/// device. Returns whether UDP segmentation (Linux 6.2) is part of it.
pub(crate) fn set_offload(file: &File, offload: bool) -> io::Result<bool> {
    let tso = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    if !offload {
        return set_mask(file, 0).map(|()| false);
    }
    match set_mask(file, tso | libc::TUN_F_USO4 | libc::TUN_F_USO6) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => set_mask(file, tso).map(|()| false),
        result => result.map(|()| true),
    }
}

fn set_mask(file: &File, mask: libc::c_uint) -> io::Result<()> {
    // SAFETY: the request takes its argument by value.
    unsafe { request::set_offload(file.as_raw_fd(), mask.cast_signed()) }?;
    Ok(())
}

/// An interface request with a name and nothing else.
pub(super) fn interface_request(device: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is plain old data, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero behind the name.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_change_or_refuse_are_refused() {
        for name in ["eth0", "pal-io.0", "fifteen-bytes-x"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "eth0:1", "tap%d", "sixteen-bytes-xx"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
