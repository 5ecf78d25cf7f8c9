//! Something that is opened when first used, and once for all who find it broken together.

use std::sync::{Arc, Mutex, PoisonError};

/// What is kept, once it is there.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// Returns what is kept, unless that is `broken`, else what `open` makes; and whether it was
    /// made just now. Others wait meanwhile.
    ///
    /// # Errors
    /// When it cannot be opened; the next caller tries again.
    pub(super) fn get<E>(
        &self,
        broken: Option<&Arc<T>>,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Arc<T>, bool), E> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |one: &&Arc<T>| broken.is_none_or(|broken| !Arc::ptr_eq(broken, one));
        if let Some(good) = kept.as_ref().filter(is_good) {
            return Ok((Arc::clone(good), false));
        }
        *kept = None;
        let opened = Arc::new(open()?);
        *kept = Some(Arc::clone(&opened));
        Ok((opened, true))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn who_finds_it_broken_together_opens_it_once() {
        let opened = AtomicU32::new(0);
        let kept = Kept::default();
        let open = || Ok::<_, Infallible>(opened.fetch_add(1, Ordering::Relaxed));
        let (broken, is_new) = kept.get(None, open).unwrap();
        assert!(is_new);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let (good, _) = kept.get(Some(&broken), open).unwrap();
                    assert_eq!(*good, 1);
                });
            }
        });
        assert_eq!(opened.load(Ordering::Relaxed), 2);
        assert!(!kept.get(None, open).unwrap().1);
    }

    #[test]
    fn what_cannot_be_opened_is_tried_again() {
        let kept = Kept::default();
        let (broken, _) = kept.get(None, || Ok::<_, &str>(1)).unwrap();
        assert_eq!(
            kept.get(Some(&broken), || Err("refused")).unwrap_err(),
            "refused"
        );
        assert_eq!(*kept.get(None, || Ok::<_, &str>(2)).unwrap().0, 2);
    }
}
