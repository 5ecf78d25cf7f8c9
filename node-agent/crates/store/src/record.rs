//! The envelope around a stored record: a version number and JSON.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something kept in a table of its own.
pub trait Record: Serialize + DeserializeOwned {
    /// Name of the table.
    const TABLE: &'static str;

    /// Version that is written. Raise it when older code could not read the new form.
    const VERSION: u32;

    /// Returns the record that `json`, written as `version`, means today.
    ///
    /// Called for versions below [`Record::VERSION`] only.
    #[must_use]
    fn upgrade(version: u32, json: &serde_json::value::RawValue) -> Option<Self> {
        let _ = version;
        serde_json::from_str(json.get()).ok()
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u32,
    r: &'a T,
}

#[derive(Deserialize)]
struct Opened<'a> {
    v: u32,
    #[serde(borrow)]
    r: &'a serde_json::value::RawValue,
}

pub(crate) fn encode<T: Record>(record: &T) -> Result<Vec<u8>, Arc<serde_json::Error>> {
    let envelope = Envelope {
        v: T::VERSION,
        r: record,
    };
    serde_json::to_vec(&envelope).map_err(Arc::new)
}

/// Returns `None` for damaged bytes and for versions newer than this code.
pub(crate) fn decode<T: Record>(bytes: &[u8]) -> Option<T> {
    let opened: Opened<'_> = serde_json::from_slice(bytes).ok()?;
    match opened.v.cmp(&T::VERSION) {
        std::cmp::Ordering::Equal => serde_json::from_str(opened.r.get()).ok(),
        std::cmp::Ordering::Less => T::upgrade(opened.v, opened.r),
        std::cmp::Ordering::Greater => None,
    }
}
