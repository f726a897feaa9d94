//! An entry as it stands in the map: it is its own key, so that a place there takes a pointer and no more.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::conn::Conn;
use crate::key::Key;

/// Equal to every other entry with the same [`Key`].
#[derive(Clone)]
pub(crate) struct Listed(pub(crate) Arc<Conn>);

impl Borrow<Key> for Listed {
    fn borrow(&self) -> &Key {
        self.0.key()
    }
}

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
