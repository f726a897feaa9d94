//! What threads meet at: atomics, locks, the map.
//!
//! With `--cfg palisade_loom` they are those of the model checker, so that the files `*_models.rs` check the code that
//! forwards packets and no copy of it. Whatever two threads can meet at is imported from here. Reference counts are
//! not: nothing is decided by them but the moment at which memory is free.

#[cfg(palisade_loom)]
pub(crate) mod modelled;

#[cfg(palisade_loom)]
pub(crate) use modelled::{AtomicU32, AtomicU64, DashMap, Entry, Mutex, MutexGuard, OccupiedEntry, RwLock};

#[cfg(not(palisade_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(not(palisade_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock};

#[cfg(not(palisade_loom))]
pub(crate) use dashmap::{DashMap, Entry, OccupiedEntry};
