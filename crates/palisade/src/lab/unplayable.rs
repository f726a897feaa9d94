//! What real devices cannot carry: the closed list of reasons for which a step is not played.

use std::io;

use nix::libc::{EINVAL, EMSGSIZE};
use palisade_scenario::Halt;

/// Why a step is not playable. The texts are those of docs/scenarios-on-devices.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unplayable {
    /// The kernel takes no frame from a raw socket without a whole Ethernet header.
    #[error("the frame is shorter than an Ethernet header, which the guest's kernel refuses to send")]
    FrameTooShort,
    /// An IP packet of the greatest length and an Ethernet header do not fit a TAP.
    #[error("the frame is longer than the guest's device takes")]
    FrameTooLong,
    /// The kernel checks the virtio-net header of a raw socket, less strictly than the daemon does.
    #[error("the guest's kernel refuses the virtio-net header")]
    HeaderRefused,
    /// The kernel makes a header or a frame of its own from what it was given.
    #[error("the guest's kernel changes the frame or its virtio-net header before the device has it")]
    FrameChanged,
}

impl Unplayable {
    /// What a refusal to send a frame means; anything else is a fault of the laboratory.
    pub(super) fn refused(error: &io::Error, frame: &[u8]) -> Halt {
        match error.raw_os_error() {
            Some(EINVAL) if frame.len() < palisade_packet::ETHERNET_LEN => Self::FrameTooShort.into(),
            Some(EINVAL) => Self::HeaderRefused.into(),
            Some(EMSGSIZE) => Self::FrameTooLong.into(),
            _ => Halt::Failed(format!("the guest cannot send: {error}")),
        }
    }
}

impl From<Unplayable> for Halt {
    fn from(why: Unplayable) -> Self {
        Self::NotPlayable(why.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_reasons_are_these() {
        let page = include_str!("../../../../docs/scenarios-on-devices.md");
        let (_, section) = page.split_once("## What is not playable").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let listed: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("- ")).collect();
        let reasons = [
            Unplayable::FrameTooShort,
            Unplayable::FrameTooLong,
            Unplayable::HeaderRefused,
            Unplayable::FrameChanged,
        ];
        assert_eq!(listed, reasons.map(|reason| reason.to_string()));
    }
}
