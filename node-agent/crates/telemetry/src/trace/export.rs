//! An exporter that tells when spans begin to be lost, and when they no longer are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// Logs the first of a row of failures, and its end.
#[derive(Debug)]
pub(super) struct Told<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E> Told<E> {
    pub(super) fn new(exporter: E) -> Self {
        Self {
            exporter,
            failing: AtomicBool::new(false),
        }
    }
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !before => {
                tracing::warn!(error = %error, "spans not exported, and lost until they are again");
            }
            Ok(()) if before => tracing::info!("spans exported again"),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_sdk::error::OTelSdkError;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    /// Fails as often as it is told to.
    #[derive(Debug)]
    struct Failing(AtomicUsize);

    impl SpanExporter for Failing {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            let left = self.0.load(Ordering::Relaxed);
            if left == 0 {
                return Ok(());
            }
            self.0.store(left - 1, Ordering::Relaxed);
            Err(OTelSdkError::InternalFailure("nobody listens".to_owned()))
        }
    }

    /// Keeps the levels of what is logged.
    #[derive(Default)]
    struct Levels(Mutex<Vec<Level>>);

    impl Subscriber for &'static Levels {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(*event.metadata().level());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_row_of_failures_is_told_once_and_so_is_its_end() {
        let levels: &'static Levels = Box::leak(Box::default());
        let told = Told::new(Failing(AtomicUsize::new(3)));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let failed = tracing::subscriber::with_default(levels, || {
            runtime.unwrap().block_on(async {
                let mut failed = 0;
                for _ in 0..6 {
                    failed += usize::from(told.export(Vec::new()).await.is_err());
                }
                failed
            })
        });
        assert_eq!(failed, 3);
        assert_eq!(*levels.0.lock().unwrap(), [Level::WARN, Level::INFO]);
    }
}
