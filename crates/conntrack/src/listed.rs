//! An entry as it stands in the map: it is its own key, so that a place there takes a pointer and no more.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::conn::Conn;
use crate::key::Key;

/// Equal to every other entry with the same [`Key`], and found by that one.
#[derive(Clone)]
pub(crate) struct Listed(pub(crate) Arc<Conn>);

/// Whatever has the key of an entry: an entry, which keeps it in another form, or the key alone.
pub(crate) trait Keyed {
    fn key(&self) -> Key;
}

impl Keyed for Key {
    fn key(&self) -> Key {
        *self
    }
}

impl Keyed for Listed {
    fn key(&self) -> Key {
        self.0.key()
    }
}

impl<'k> Borrow<dyn Keyed + 'k> for Listed {
    fn borrow(&self) -> &(dyn Keyed + 'k) {
        self
    }
}

impl Hash for dyn Keyed + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn Keyed + '_ {}

impl Hash for Listed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for Listed {}
