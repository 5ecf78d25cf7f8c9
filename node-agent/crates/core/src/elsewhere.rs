//! Something whose end may block.

use tokio::runtime::Handle;

/// Drops what it holds on a thread made for that, so that whoever drops it, also by giving up what
/// it was doing, never waits.
#[derive(Debug)]
pub(crate) struct Elsewhere<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Elsewhere<T> {
    /// Holds a value, if there is one.
    pub(crate) fn new(value: Option<T>) -> Self {
        Self(value)
    }

    /// Returns the value; it is the caller's then to end it.
    pub(crate) fn take(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: Send + 'static> Drop for Elsewhere<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        // Without a runtime nobody else is kept waiting.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use tokio::sync::oneshot;

    use super::*;

    struct Told(Option<oneshot::Sender<ThreadId>>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(thread::current().id());
        }
    }

    fn held() -> (Elsewhere<Told>, oneshot::Receiver<ThreadId>) {
        let (sender, dropped) = oneshot::channel();
        (Elsewhere::new(Some(Told(Some(sender)))), dropped)
    }

    #[tokio::test]
    async fn its_end_is_not_on_this_thread() {
        let (value, dropped) = held();
        drop(value);
        assert_ne!(dropped.await.unwrap(), thread::current().id());
        let (value, dropped) = held();
        drop(value.take());
        assert_eq!(dropped.await.unwrap(), thread::current().id());
    }

    #[test]
    fn without_a_runtime_it_ends_at_once() {
        let (value, mut dropped) = held();
        drop(value);
        assert_eq!(dropped.try_recv().unwrap(), thread::current().id());
    }
}
