//! Which offloads an interface has switched on (`SIOCETHTOOL`, `linux/ethtool.h`).

use std::collections::HashSet;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::tun::interface_request;

const GET_STRINGS: u32 = 0x1b;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
/// `ETH_SS_FEATURES`: the string set that names the features.
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME_LEN: usize = 32;
/// More than any kernel has; the reply is refused beyond it.
const MAX_FEATURES: usize = 1024;

/// Names of the active features of an interface of the current thread's namespace, as `ethtool -k` shows them.
pub(crate) fn active_features(device: &str) -> io::Result<HashSet<String>> {
    // Any socket carries the request to the thread's namespace.
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let count = feature_count(&socket, device)?;
    let names = feature_names(&socket, device, count)?;
    let active = active_bits(&socket, device, count)?;
    let is_active = |index: usize| active[index / 32] >> (index % 32) & 1 == 1;
    Ok(names.into_iter().enumerate().filter(|(index, _)| is_active(*index)).map(|(_, name)| name).collect())
}

/// `struct ethtool_sset_info` with one answer.
fn feature_count(socket: &UdpSocket, device: &str) -> io::Result<usize> {
    // Command, reserved, a mask of 64 bits in the machine's order, one length.
    let low = 2 + usize::from(cfg!(target_endian = "big"));
    let mut words = [0u32; 5];
    words[0] = GET_SET_INFO;
    words[low] = 1 << FEATURE_NAMES;
    request(socket, device, &mut words)?;
    let count = usize::try_from(words[4]).map_err(io::Error::other)?;
    if count <= MAX_FEATURES { Ok(count) } else { Err(io::Error::other("too many device features")) }
}

/// `struct ethtool_gstrings`.
fn feature_names(socket: &UdpSocket, device: &str, count: usize) -> io::Result<Vec<String>> {
    let mut words = vec![0u32; 3 + count * NAME_LEN / 4];
    words[0] = GET_STRINGS;
    words[1] = FEATURE_NAMES;
    words[2] = u32::try_from(count).map_err(io::Error::other)?;
    request(socket, device, &mut words)?;
    let bytes: Vec<u8> = words[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = |name: &[u8]| {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    };
    Ok(bytes.chunks_exact(NAME_LEN).map(text).collect())
}

/// `struct ethtool_gfeatures`: per 32 features the words available, requested, active, never changed.
fn active_bits(socket: &UdpSocket, device: &str, count: usize) -> io::Result<Vec<u32>> {
    let blocks = count.div_ceil(32);
    let mut words = vec![0u32; 2 + blocks * 4];
    words[0] = GET_FEATURES;
    words[1] = u32::try_from(blocks).map_err(io::Error::other)?;
    request(socket, device, &mut words)?;
    Ok(words[2..].chunks_exact(4).map(|block| block[2]).collect())
}

/// Sends a request that is answered in place. The words must have the length that the command's counts imply.
fn request(socket: &UdpSocket, device: &str, words: &mut [u32]) -> io::Result<()> {
    let mut request = interface_request(device);
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the request points at memory that is borrowed mutably; the kernel writes no more than the counts in it
    // announce, and the three callers size it by these counts.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
