//! The store's promises: nothing unverified among the blobs, every cut resumable.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use agent_types::Digest;
use agent_types::digest::Algorithm;
use proptest::prelude::*;

use crate::{CommitError, ContentStore, Expected, Hasher, IngestError};

const BOOT: &str = "11111111-1111-1111-1111-111111111111";
const NEXT_BOOT: &str = "22222222-2222-2222-2222-222222222222";

fn digest(bytes: &[u8]) -> Digest {
    Hasher::digest_of(Algorithm::Sha256, bytes)
}

fn exactly(bytes: &[u8]) -> Expected {
    Expected::Exactly(bytes.len() as u64)
}

fn open(directory: &Path, boot: &str) -> ContentStore {
    ContentStore::open(directory, boot).unwrap()
}

fn put(store: &ContentStore, bytes: &[u8]) -> Digest {
    let digest = digest(bytes);
    let mut ingest = store.ingest(&digest, exactly(bytes)).unwrap();
    let offset = usize::try_from(ingest.offset()).unwrap();
    ingest.write(&bytes[offset..]).unwrap();
    ingest.commit().unwrap();
    digest
}

fn stored(store: &ContentStore, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    store
        .open_blob(digest)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn ingest_files(directory: &Path) -> usize {
    fs::read_dir(directory.join("ingest")).unwrap().count()
}

#[test]
fn a_cut_at_every_byte_resumes_also_after_a_restart() {
    let bytes = b"the bytes of a small blob";
    for cut in 0..=bytes.len() {
        for boot in [BOOT, NEXT_BOOT] {
            let directory = tempfile::tempdir().unwrap();
            let store = open(directory.path(), BOOT);
            let mut ingest = store.ingest(&digest(bytes), exactly(bytes)).unwrap();
            ingest.write(&bytes[..cut]).unwrap();
            drop(ingest);
            drop(store);
            let store = open(directory.path(), boot);
            let mut ingest = store.ingest(&digest(bytes), exactly(bytes)).unwrap();
            assert_eq!(ingest.offset(), cut as u64);
            let mut before = Vec::new();
            ingest.reader().unwrap().read_to_end(&mut before).unwrap();
            assert_eq!(before, &bytes[..cut]);
            ingest.write(&bytes[cut..]).unwrap();
            assert_eq!(ingest.commit().unwrap(), bytes.len() as u64);
            assert_eq!(stored(&store, &digest(bytes)), bytes);
            assert_eq!(ingest_files(directory.path()), 0);
        }
    }
}

#[test]
fn a_damaged_partial_is_found_at_commit_and_discarded() {
    let bytes = b"the bytes of a small blob";
    for damaged in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), BOOT);
        let mut ingest = store.ingest(&digest(bytes), exactly(bytes)).unwrap();
        ingest.write(&bytes[..10]).unwrap();
        drop(ingest);
        let file = fs::read_dir(directory.path().join("ingest"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let mut partial = fs::read(file.path()).unwrap();
        partial[damaged] ^= 1;
        fs::write(file.path(), partial).unwrap();

        let mut ingest = store.ingest(&digest(bytes), exactly(bytes)).unwrap();
        ingest.write(&bytes[10..]).unwrap();
        match ingest.commit() {
            Err(CommitError::Corrupt {
                resumed: 10,
                actual,
                ..
            }) => {
                assert_ne!(actual, digest(bytes));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(store.contains(&digest(bytes)).unwrap(), None);
        assert_eq!(ingest_files(directory.path()), 0);
        put(&store, bytes);
    }
}

#[test]
fn more_or_fewer_bytes_than_announced_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), BOOT);
    let name = digest(b"12345");
    let mut ingest = store.ingest(&name, Expected::Exactly(5)).unwrap();
    assert!(matches!(
        ingest.write(b"123456"),
        Err(IngestError::TooLarge { limit: 5, .. })
    ));
    ingest.write(b"123").unwrap();
    assert!(matches!(
        ingest.commit(),
        Err(CommitError::Incomplete {
            received: 3,
            expected: 5,
            ..
        })
    ));
    let mut ingest = store.ingest(&name, Expected::Exactly(5)).unwrap();
    assert_eq!(ingest.resumed(), 3);
    ingest.write(b"45").unwrap();
    assert_eq!(ingest.commit().unwrap(), 5);
    let mut capped = store.ingest(&digest(b"abc"), Expected::AtMost(2)).unwrap();
    assert!(capped.write(b"abc").is_err());
    capped.discard().unwrap();
    assert_eq!(ingest_files(directory.path()), 0);
}

#[test]
fn one_ingest_at_a_time_and_none_of_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), BOOT);
    let name = digest(b"x");
    let first = store.ingest(&name, Expected::AtMost(9)).unwrap();
    assert!(matches!(
        store.ingest(&name, Expected::AtMost(9)),
        Err(IngestError::Busy { .. })
    ));
    drop(first);
    put(&store, b"x");
    assert!(matches!(
        store.ingest(&name, Expected::AtMost(9)),
        Err(IngestError::AlreadyExists { .. })
    ));
}

#[test]
fn a_restart_within_one_boot_verifies_nothing_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let name = put(&open(directory.path(), BOOT), b"kept");
    // Damage that only a verification would see: none takes place within the boot.
    fs::write(
        directory.path().join("blobs/sha256").join(name.hex()),
        b"KEPT",
    )
    .unwrap();
    let store = open(directory.path(), BOOT);
    assert_eq!(store.contains(&name).unwrap(), Some(4));
    assert!(matches!(
        store.read_small(&name, 100),
        Err(crate::BlobError::Damaged { .. })
    ));
}

#[test]
fn after_a_reboot_unsynced_blobs_are_verified_and_damaged_ones_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), BOOT);
    let whole = put(&store, b"whole");
    let torn = put(&store, b"torn by a power cut");
    let path = directory.path().join("blobs/sha256").join(torn.hex());
    fs::write(&path, vec![0; 19]).unwrap();

    let store = open(directory.path(), NEXT_BOOT);
    assert!(store.is_present(&torn));
    assert_eq!(store.contains(&whole).unwrap(), Some(5));
    assert_eq!(store.contains(&torn).unwrap(), None);
    assert!(!path.exists());
    put(&store, b"torn by a power cut");
    assert_eq!(stored(&store, &torn), b"torn by a power cut");
    // The verified one is not suspect again when the agent restarts in the same boot.
    fs::write(
        directory.path().join("blobs/sha256").join(whole.hex()),
        b"WHOLE",
    )
    .unwrap();
    assert_eq!(
        open(directory.path(), NEXT_BOOT).contains(&whole).unwrap(),
        Some(5)
    );
}

#[test]
fn synced_blobs_are_trusted_after_a_reboot_unless_the_file_is_another() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), BOOT);
    let kept = put(&store, b"kept");
    let again = put(&store, b"again");
    store.sync().unwrap();
    store.sync().unwrap();
    store.remove(&again).unwrap();
    put(&store, b"again");
    let path = |name: &Digest| directory.path().join("blobs/sha256").join(name.hex());
    fs::write(path(&again), b"AGAIN").unwrap();
    let modified = fs::metadata(path(&kept)).unwrap().modified().unwrap();
    fs::write(path(&kept), b"KEPT").unwrap();
    fs::File::options()
        .write(true)
        .open(path(&kept))
        .unwrap()
        .set_modified(modified)
        .unwrap();

    let store = open(directory.path(), NEXT_BOOT);
    assert_eq!(
        store.contains(&kept).unwrap(),
        Some(4),
        "trusted without a look"
    );
    assert_eq!(
        store.contains(&again).unwrap(),
        None,
        "a later file of the same name is suspect"
    );
}

#[test]
fn a_lost_clean_list_only_costs_a_verification() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), BOOT);
    let name = put(&store, b"kept");
    store.sync().unwrap();
    fs::write(directory.path().join("clean"), b"\0\0\0\0").unwrap();
    assert_eq!(
        open(directory.path(), NEXT_BOOT).contains(&name).unwrap(),
        Some(4)
    );
}

#[test]
fn list_usage_remove_and_sweep_agree_with_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), BOOT);
    let name = put(&store, &vec![1; 10_000]);
    let mut partial = store
        .ingest(&digest(b"never"), Expected::AtMost(9))
        .unwrap();
    partial.write(b"nev").unwrap();
    assert_eq!(
        store.sweep_ingests(Duration::ZERO).unwrap(),
        0,
        "an open one stays"
    );
    drop(partial);
    assert_eq!(store.sweep_ingests(Duration::from_secs(3600)).unwrap(), 0);
    let usage = store.usage().unwrap();
    assert_eq!(usage.inodes, 2);
    assert!(usage.bytes >= 10_000);
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(store.sweep_ingests(Duration::ZERO).unwrap(), 1);
    store.remove(&name).unwrap();
    store.remove(&name).unwrap();
    assert_eq!(store.list().unwrap(), vec![]);
    assert_eq!(store.usage().unwrap(), crate::Usage::default());
}

#[test]
fn a_boot_id_is_never_a_path() {
    let directory = tempfile::tempdir().unwrap();
    for bad in ["", "..", "a/b", "a\n"] {
        assert!(
            ContentStore::open(directory.path(), bad).is_err(),
            "{bad:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_cuts_and_chunks_give_the_same_blob(
        bytes in proptest::collection::vec(any::<u8>(), 1..300),
        steps in proptest::collection::vec((1_usize..80, any::<bool>()), 0..12),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), BOOT);
        let name = digest(&bytes);
        let mut ingest = store.ingest(&name, exactly(&bytes)).unwrap();
        for (length, reopen) in steps {
            let at = usize::try_from(ingest.offset()).unwrap();
            let end = (at + length).min(bytes.len());
            ingest.write(&bytes[at..end]).unwrap();
            if reopen {
                drop(ingest);
                ingest = store.ingest(&name, exactly(&bytes)).unwrap();
                prop_assert_eq!(ingest.offset(), end as u64);
            }
        }
        let at = usize::try_from(ingest.offset()).unwrap();
        ingest.write(&bytes[at..]).unwrap();
        ingest.commit().unwrap();
        prop_assert_eq!(stored(&store, &name), bytes);
    }
}
