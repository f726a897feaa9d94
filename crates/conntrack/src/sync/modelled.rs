//! The model checker's primitives, and a locked stand-in for the map, into which it cannot see.
//!
//! *Sequential consistency.* The checker treats `SeqCst` accesses as acquire and release only and has sequentially
//! consistent fences. So a fence follows each such store here, as it does in the code that compilers emit for x86; it
//! forbids what the language forbids, that a store and a later load of another cell change places.

use std::borrow::Borrow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use loom::sync::atomic;
pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock};

macro_rules! modelled {
    ($name:ident, $number:ty) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "each width has all that one of them needs")]
        impl $name {
            pub(crate) fn new(value: $number) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $number {
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $number, order: Ordering) {
                self.0.store(value, order);
                settle(order);
            }

            pub(crate) fn fetch_add(&self, value: $number, order: Ordering) -> $number {
                let before = self.0.fetch_add(value, order);
                settle(order);
                before
            }

            pub(crate) fn fetch_sub(&self, value: $number, order: Ordering) -> $number {
                let before = self.0.fetch_sub(value, order);
                settle(order);
                before
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $number,
                new: $number,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$number, $number> {
                let before = self.0.compare_exchange(current, new, success, failure)?;
                settle(success);
                Ok(before)
            }

            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                update: impl FnMut($number) -> Option<$number>,
            ) -> Result<$number, $number> {
                let before = self.0.fetch_update(set, fetch, update)?;
                settle(set);
                Ok(before)
            }
        }
    };
}

modelled!(AtomicU32, u32);
modelled!(AtomicU64, u64);

fn settle(order: Ordering) {
    if order == Ordering::SeqCst {
        atomic::fence(order);
    }
}

type Shard<K, V> = Mutex<Vec<(K, V)>>;

/// The map as the table uses it. It has two shards, so that a model can have flows that meet at one lock and flows that
/// do not. They are lists, and keys go to them by a hash without a seed, because the checker
/// repeats an execution and must find it unchanged.
pub(crate) struct DashMap<K, V, S> {
    shards: [Shard<K, V>; 2],
    hasher: PhantomData<S>,
}

impl<K: Clone + Eq + Hash, V: Clone, S> DashMap<K, V, S> {
    pub(crate) fn with_capacity_and_hasher_and_shard_amount(_: usize, _: S, _: usize) -> Self {
        Self { shards: [Shard::default(), Shard::default()], hasher: PhantomData }
    }

    /// With no lock held: what it is about is shared in any case.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Standing<K>>
    where
        K: Borrow<Q>,
    {
        let shard = self.lock(key);
        shard.iter().find(|(known, _)| known.borrow() == key).map(|(key, _)| Standing { key: key.clone() })
    }

    pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
        let shard = self.lock(&key);
        match shard.iter().position(|(known, _)| *known == key) {
            Some(place) => Entry::Occupied(OccupiedEntry { shard, place, key }),
            None => Entry::Vacant(VacantEntry { shard, key }),
        }
    }

    pub(crate) fn remove_if<Q: Eq + Hash + ?Sized>(
        &self,
        key: &Q,
        wanted: impl FnOnce(&K, &V) -> bool,
    ) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let mut shard = self.lock(key);
        let place = shard.iter().position(|(known, _)| known.borrow() == key)?;
        let (known, value) = &shard[place];
        wanted(known, value).then(|| shard.remove(place))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Standing<K>> {
        let all = self.shards.iter().flat_map(|shard| locked(shard).clone());
        all.map(|(key, _)| Standing { key })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).len()).sum()
    }

    fn lock(&self, key: &(impl Hash + ?Sized)) -> MutexGuard<'_, Vec<(K, V)>> {
        locked(&self.shards[shard_of(key)])
    }
}

/// The shard that a key belongs to: 0 or 1.
pub(crate) fn shard_of(key: &(impl Hash + ?Sized)) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::from(hasher.finish() & 1 == 1)
}

fn locked<K, V>(shard: &Shard<K, V>) -> MutexGuard<'_, Vec<(K, V)>> {
    shard.lock().expect("a panic ends the model")
}

/// A key, with no lock held.
pub(crate) struct Standing<K> {
    key: K,
}

impl<K> Standing<K> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }
}

/// A place in a locked shard.
pub(crate) enum Entry<'a, K, V> {
    Occupied(OccupiedEntry<'a, K, V>),
    Vacant(VacantEntry<'a, K, V>),
}

pub(crate) struct OccupiedEntry<'a, K, V> {
    shard: MutexGuard<'a, Vec<(K, V)>>,
    place: usize,
    /// The key that was asked with.
    key: K,
}

pub(crate) struct VacantEntry<'a, K, V> {
    shard: MutexGuard<'a, Vec<(K, V)>>,
    key: K,
}

impl<K, V> OccupiedEntry<'_, K, V> {
    /// The key that stands there.
    pub(crate) fn key(&self) -> &K {
        &self.shard[self.place].0
    }

    /// Puts the key that was asked with where the other one stood.
    pub(crate) fn replace_entry(mut self, value: V) -> (K, V) {
        std::mem::replace(&mut self.shard[self.place], (self.key, value))
    }

    pub(crate) fn remove(mut self) -> V {
        self.shard.remove(self.place).1
    }
}

impl<K, V> VacantEntry<'_, K, V> {
    pub(crate) fn insert(mut self, value: V) {
        self.shard.push((self.key, value));
    }
}
