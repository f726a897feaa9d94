//! What threads meet at; with `--cfg palisade_loom` the model checker's, and a locked stand-in for `arc-swap`, into which
//! it cannot see.

#[cfg(palisade_loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicU64},
};

#[cfg(not(palisade_loom))]
pub(crate) use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicU64},
};

#[cfg(not(palisade_loom))]
pub(crate) type Slot<T> = arc_swap::ArcSwap<T>;

#[cfg(palisade_loom)]
#[derive(Debug)]
pub(crate) struct Slot<T>(Mutex<std::sync::Arc<T>>);

#[cfg(palisade_loom)]
mod slot {
    use std::sync::{Arc, PoisonError};

    use super::{Mutex, Slot};

    impl<T> Slot<T> {
        pub(crate) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), value)
        }
    }
}
