use std::path::Path;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pod {
    name: String,
}

impl Record for Pod {
    const TABLE: &'static str = "pods";
    const VERSION: u32 = 2;
}

/// The same table as a newer agent would write it.
#[derive(Debug, Serialize, Deserialize)]
struct NewerPod {
    renamed: String,
}

impl Record for NewerPod {
    const TABLE: &'static str = "pods";
    const VERSION: u32 = 3;
}

/// The same table as an older agent wrote it.
#[derive(Debug, Serialize, Deserialize)]
struct OlderPod {
    name: String,
}

impl Record for OlderPod {
    const TABLE: &'static str = "pods";
    const VERSION: u32 = 1;
}

fn pod(name: &str) -> Pod {
    Pod {
        name: name.to_owned(),
    }
}

#[test]
fn records_outlive_the_store() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = Store::open(directory.path()).unwrap();
        store
            .save_blocking(Durability::Unsynced, "a", &pod("one"))
            .unwrap();
        store
            .save_blocking(Durability::Synced, "b", &pod("two"))
            .unwrap();
        store
            .save_blocking(Durability::Synced, "c", &pod("three"))
            .unwrap();
        store
            .remove_blocking::<Pod>(Durability::Synced, "c")
            .unwrap();
        store
            .remove_blocking::<Pod>(Durability::Synced, "never there")
            .unwrap();
    }
    let store = Store::open(directory.path()).unwrap();
    let loaded = store.load_all::<Pod>().unwrap();
    assert_eq!(
        loaded.records,
        [("b".to_owned(), pod("two")), ("a".to_owned(), pod("one"))]
    );
    assert!(loaded.unreadable.is_empty());
}

#[test]
fn older_records_are_upgraded_and_newer_ones_reported() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let old = OlderPod {
        name: "old".to_owned(),
    };
    let new = NewerPod {
        renamed: "new".to_owned(),
    };
    store
        .save_blocking(Durability::Unsynced, "old", &old)
        .unwrap();
    store
        .save_blocking(Durability::Unsynced, "new", &new)
        .unwrap();
    let loaded = store.load_all::<Pod>().unwrap();
    assert_eq!(loaded.records, [("old".to_owned(), pod("old"))]);
    assert_eq!(
        loaded.unreadable,
        [(Durability::Unsynced, "new".to_owned())]
    );
}

#[test]
fn a_second_process_is_told_who_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Store::open(directory.path()).unwrap();
    let second = Store::open(directory.path()).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
}

#[test]
fn a_damaged_records_database_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("records.redb"), vec![7; 9000]).unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(store.set_aside().is_some_and(Path::exists));
    store
        .save_blocking(Durability::Unsynced, "a", &pod("one"))
        .unwrap();
    assert_eq!(store.load_all::<Pod>().unwrap().records.len(), 1);
}

#[test]
fn a_damaged_durable_database_is_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("durable.redb"), vec![7; 9000]).unwrap();
    assert!(matches!(
        Store::open(directory.path()),
        Err(OpenError::Database { .. })
    ));
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50 {
                    let key = format!("{writer}-{n}");
                    store
                        .save_blocking(Durability::Unsynced, &key, &pod(&key))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(store.load_all::<Pod>().unwrap().records.len(), 400);
}
