//! Compiled filters, kept: compiling takes longer than starting a container.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Bpf, Capabilities, CompileError, KernelVersion, Profile};

/// Most filters kept. Callers choose profiles, so their number has to have an end.
const MOST: usize = 128;

type Slot = Arc<Mutex<Option<Bpf>>>;

/// Compiles each pair of profile and capabilities once.
#[derive(Debug)]
pub struct Cache {
    kernel: KernelVersion,
    slots: Mutex<HashMap<(Profile, Capabilities), Slot>>,
}

impl Cache {
    /// Returns an empty cache for filters that run on this kernel.
    #[must_use]
    pub fn new(kernel: KernelVersion) -> Self {
        Self {
            kernel,
            slots: Mutex::default(),
        }
    }

    /// Returns the filter, compiled now if it is the first time. Callers of the same pair wait for
    /// each other, those of different pairs do not. Blocks for as long as compiling takes.
    pub fn get(&self, profile: &Profile, capabilities: Capabilities) -> Result<Bpf, CompileError> {
        // Most capabilities change no rule; containers that differ in those share a filter.
        let capabilities = profile.relevant(capabilities);
        let slot = self.slot((profile.clone(), capabilities));
        let mut filter = locked(&slot);
        if let Some(filter) = &*filter {
            return Ok(filter.clone());
        }
        let compiled = profile.compile(capabilities, self.kernel)?;
        *filter = Some(compiled.clone());
        Ok(compiled)
    }

    fn slot(&self, key: (Profile, Capabilities)) -> Slot {
        let mut slots = locked(&self.slots);
        if slots.len() >= MOST && !slots.contains_key(&key) {
            // Rare enough that the ones in use may be compiled again.
            slots.clear();
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

/// Takes a lock. A slot that a panic left is empty or whole, so it can be used on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_compiled_once_for_all_that_share_it() {
        let cache = Cache::new(KernelVersion { major: 6, minor: 1 });
        let profile = Profile::default_profile();
        let chown = Capabilities::named("CHOWN").unwrap();
        let admin = Capabilities::named("SYS_ADMIN").unwrap();
        let one = cache.get(&profile, Capabilities::default()).unwrap();
        let two = cache.get(&profile, chown).unwrap();
        assert!(std::ptr::eq(one.as_bytes(), two.as_bytes()));
        assert_ne!(cache.get(&profile, admin).unwrap(), one);
        assert_eq!(cache.slots.lock().unwrap().len(), 2);
    }

    #[test]
    fn callers_cannot_fill_it_without_end() {
        let cache = Cache::new(KernelVersion { major: 6, minor: 1 });
        for errno in 2..200 {
            let json = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":{errno}}}"#);
            let profile = Profile::from_json(json.as_bytes()).unwrap();
            cache.slot((profile, Capabilities::default()));
        }
        assert!(cache.slots.lock().unwrap().len() <= MOST);
    }
}
