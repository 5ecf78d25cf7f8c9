//! What a crash or a power cut leaves, and what becomes of it.

use agent_snapshot::{ChainId, DropReason, DroppedLayer, LookupError, Snapshots};

use crate::build::Tar;
use crate::node::Node;

fn two_layers(node: &Node) -> (ChainId, ChainId) {
    let bottom = node.layer(&Tar::new().file("a", b"a").end(), None);
    let top = node.layer(&Tar::new().file("b", b"b").end(), Some(&bottom));
    (bottom, top)
}

fn dropped(chain: &ChainId, reason: DropReason) -> DroppedLayer {
    let chain = chain.clone();
    DroppedLayer { chain, reason }
}

#[test]
fn a_restart_within_a_boot_keeps_all_layers() {
    let node = Node::new();
    let (bottom, top) = two_layers(&node);
    let before = node.snapshots.layers(&top).unwrap();
    let (again, recovery) = Snapshots::open(node.dir.path(), "boot-1").unwrap();
    assert!(recovery.dropped.is_empty() && recovery.ownerless.is_empty());
    assert_eq!(again.layers(&top).unwrap(), before);
    assert!(again.contains(&bottom));
    let next = again.unpack(
        &Tar::new().file("c", b"").end()[..],
        None,
        &Default::default(),
    );
    let chain = ChainId::new(Some(&top), next.as_ref().unwrap().diff_id());
    let record = again.commit(next.unwrap(), &chain, Some(&top)).unwrap();
    assert!(!before.contains(&format!("l/{}", record.number)));
}

#[test]
fn a_power_cut_costs_the_layers_that_no_sync_has_passed() {
    let node = Node::new();
    let bottom = node.layer(&Tar::new().file("a", b"a").end(), None);
    assert_eq!(node.snapshots.sync().unwrap(), 1);
    assert_eq!(node.snapshots.sync().unwrap(), 0);
    let top = node.layer(&Tar::new().file("b", b"b").end(), Some(&bottom));
    let key = "c1".parse().unwrap();
    node.snapshots.prepare(&key, Some(&top)).unwrap();

    let (again, recovery) = Snapshots::open(node.dir.path(), "boot-2").unwrap();
    assert_eq!(recovery.dropped, [dropped(&top, DropReason::Unclean)]);
    assert!(again.contains(&bottom) && !again.contains(&top));
    // The container is there, and says what it lacks until that is unpacked again.
    let missing = LookupError::Layer { chain: top.clone() };
    assert_eq!(again.get(&key).unwrap_err(), missing);
    let unpacked = again.unpack(
        &Tar::new().file("b", b"b").end()[..],
        None,
        &Default::default(),
    );
    again
        .commit(unpacked.unwrap(), &top, Some(&bottom))
        .unwrap();
    assert_eq!(again.get(&key).unwrap().lower.len(), 2);
    again.sweep().unwrap();
    node.assert_nothing_left();
}

#[test]
fn layers_go_with_the_layer_they_stand_on() {
    let node = Node::new();
    let (bottom, top) = two_layers(&node);
    node.snapshots.sync().unwrap();
    std::fs::remove_dir_all(node.snapshots.base().join("l/1")).unwrap();
    let (again, recovery) = Snapshots::open(node.dir.path(), "boot-1").unwrap();
    let expected = [
        dropped(&bottom, DropReason::Missing),
        dropped(&top, DropReason::Orphaned),
    ];
    assert_eq!(recovery.dropped, expected);
    assert!(again.layer_records().is_empty());
}

#[test]
fn what_belongs_to_nothing_is_swept_and_told() {
    let node = Node::new();
    let (_, top) = two_layers(&node);
    let base = node.snapshots.base().to_owned();
    for dir in [
        "staging/7/d",
        "trash/1/d",
        "l/77",
        "c/not ours",
        "c/also~not",
    ] {
        std::fs::create_dir_all(base.join(dir)).unwrap();
    }
    std::fs::write(base.join("i/9"), b"{\"version\":1,\"num").unwrap();
    std::fs::write(base.join("i/2.new"), b"").unwrap();
    let (again, mut recovery) = Snapshots::open(node.dir.path(), "boot-1").unwrap();
    recovery.ownerless.sort();
    assert_eq!(
        recovery.ownerless,
        ["c/also~not", "c/not ours", "i/2.new", "i/9", "l/77"]
    );
    assert_eq!(recovery.staging, 1);
    assert_eq!(again.layers(&top).unwrap().len(), 2);
    again.sweep().unwrap();
    node.assert_nothing_left();
    let (_, recovery) = Snapshots::open(node.dir.path(), "boot-1").unwrap();
    assert!(recovery.ownerless.is_empty() && recovery.staging == 0);
}

/// A record that the power cut left empty is no layer, whatever its directory looks like.
#[test]
fn a_spoilt_record_costs_its_layer() {
    let node = Node::new();
    let (bottom, top) = two_layers(&node);
    node.snapshots.sync().unwrap();
    std::fs::write(node.snapshots.base().join("i/2"), b"").unwrap();
    let (again, mut recovery) = Snapshots::open(node.dir.path(), "boot-2").unwrap();
    recovery.ownerless.sort();
    assert_eq!(recovery.ownerless, ["i/2", "l/2"]);
    assert!(again.contains(&bottom) && !again.contains(&top));
}

#[test]
fn an_unpack_given_up_leaves_nothing() {
    let node = Node::new();
    let unpacked = node.unpack(&Tar::new().file("a", b"a").end()).unwrap();
    assert_eq!(
        std::fs::read_dir(node.snapshots.base().join("staging"))
            .unwrap()
            .count(),
        1
    );
    drop(unpacked);
    node.assert_nothing_left();
}
