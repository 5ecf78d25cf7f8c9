//! Waiting with a deadline: polls a condition and says what was last seen when it gives up.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How long a condition may take before the test is called failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Returns once `look` yields a value; fails, naming `what`, after [`PATIENCE`]. It blocks the
/// thread: where tasks must go on meanwhile, use [`until_async`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        match seen {
            Ok(Some(value)) => return Ok(value),
            Ok(None) | Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Ok(None) => return Err(anyhow!("{what}: not so after {PATIENCE:?}")),
            Err(error) => return Err(error.context(format!("{what}: not so after {PATIENCE:?}"))),
        }
    }
}

/// Returns once the future made by `look` yields a value; fails, naming `what`, after [`PATIENCE`].
pub async fn until_async<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) | Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Ok(None) => return Err(anyhow!("{what}: not so after {PATIENCE:?}")),
            Err(error) => return Err(error.context(format!("{what}: not so after {PATIENCE:?}"))),
        }
    }
}

/// Returns once `look` yields `wanted`; on giving up the message holds what was seen last.
pub async fn until_equal<T, F>(what: &str, wanted: T, mut look: impl FnMut() -> F) -> Result<()>
where
    T: PartialEq + Debug,
    F: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look().await?;
        if seen == wanted {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(anyhow!(
                "{what}: wanted {wanted:?}, still {seen:?} after {PATIENCE:?}"
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
