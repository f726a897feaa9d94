//! The steps of the walk, one file each. [`crate::walk`] calls them in order.

pub(crate) mod acl;
pub(crate) mod admit;
pub(crate) mod commit;
pub(crate) mod destination;
pub(crate) mod fragments;
pub(crate) mod group;
pub(crate) mod link;
pub(crate) mod mirror;
pub(crate) mod mtu;
pub(crate) mod revocation;
pub(crate) mod service;
