//! Archives that two readers may understand in two ways. Test names carry the row of the attack.

use tar::EntryType;

use crate::build::{Tar, header};
use crate::hostile::refused;
use crate::node::Node;
#[test]
fn hostile_14_sizes_that_disagree_smuggle_nothing() {
    let inner = Tar::new().file("smuggled", b"x").cut();
    let length = inner.len().to_string();
    let node = Node::new();
    // The pax size covers what a reader of the plain header would take for entries.
    let mut zero = header(EntryType::Regular, "cover", 0);
    zero.set_size(0);
    let tar = Tar::new()
        .pax(&[("size", length.as_bytes())])
        .raw(zero, &inner)
        .end();
    let root = node.path(&node.layer(&tar, None));
    assert_eq!(std::fs::read(root.join("cover")).unwrap(), inner);
    assert!(!root.join("smuggled").exists());
    // The size of an extended header is its own, not that of a pax header before it.
    let name = "long-name\0";
    let mut long = header(EntryType::GNULongName, "x", name.len() as u64);
    long.set_mode(0);
    let tar = Tar::new()
        .pax(&[("size", b"3")])
        .raw(long, name.as_bytes())
        .file("short", b"abc")
        .end();
    let root = node.path(&node.layer(&tar, None));
    assert_eq!(std::fs::read(root.join("long-name")).unwrap(), b"abc");
    // A size hidden behind a newline inside an attribute.
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.user.x", b"\n13 size=1024\n")])
        .file("plain", b"abc")
        .file("next", b"n")
        .end();
    let root = node.path(&node.layer(&tar, None));
    assert_eq!(std::fs::read(root.join("plain")).unwrap(), b"abc");
    assert!(root.join("next").exists());
}

#[test]
fn hostile_14_what_readers_disagree_on_is_refused() {
    let with_size = |kind| {
        let mut header = header(kind, "e", 512);
        header.as_old_mut().linkname[0] = b't';
        Tar::new().raw(header, &[0; 512]).end()
    };
    refused(
        &with_size(EntryType::Directory),
        &["\"e\"", "directory with 512 bytes"],
    );
    refused(
        &with_size(EntryType::Symlink),
        &["\"e\"", "symlink with 512 bytes"],
    );
    refused(&with_size(EntryType::Fifo), &["fifo with 512 bytes"]);
    refused(
        &Tar::new().pax(&[("size", b"9")]).dir("e").end(),
        &["directory with 9 bytes"],
    );
    refused(
        &Tar::new()
            .pax(&[("path", b"a")])
            .pax(&[("path", b"b")])
            .file("c", b"")
            .end(),
        &["two of a kind"],
    );
    let long = header(EntryType::GNULongName, "x", 2);
    refused(
        &Tar::new()
            .pax(&[("path", b"a")])
            .raw(long, b"b\0")
            .file("c", b"")
            .end(),
        &["naming it differently"],
    );
    refused(
        &Tar::new().pax(&[("path", b"a")]).end(),
        &["followed by nothing"],
    );
    refused(
        &Tar::new()
            .bytes(&[0; 512])
            .file("after-one-zero-block", b"")
            .end(),
        &["single zero block"],
    );
    let global = b"12 size=512\n";
    let header_g = header(EntryType::XGlobalHeader, "g", global.len() as u64);
    refused(
        &Tar::new().raw(header_g, global).file("a", b"").end(),
        &["\"size\" is malformed"],
    );
    for flag in [b'V', b'M', b'D', b'X', b'z', 0xff] {
        let odd = header(EntryType::new(flag), "odd", 0);
        refused(&Tar::new().raw(odd, b"").end(), &["odd", "type flag"]);
    }
}

#[test]
fn hostile_14_fields_that_are_no_numbers_are_refused() {
    let change = |edit: fn(&mut tar::Header)| {
        let mut header = header(EntryType::Regular, "named", 3);
        edit(&mut header);
        Tar::new().raw(header, b"abc").end()
    };
    let negative = change(|h| h.as_old_mut().size = [0xff; 12]);
    refused(&negative, &["\"named\"", "size is not a usable number"]);
    let huge = change(|h| h.as_old_mut().size = *b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    refused(&huge, &["size is not a usable number"]);
    refused(
        &change(|h| h.as_old_mut().size = *b"0000000000x\0"),
        &["size"],
    );
    refused(&change(|h| h.as_old_mut().mode = *b"rw-r--r-"), &["mode"]);
    // chown(2) takes the largest number for "leave as it is".
    refused(&change(|h| h.set_uid(u64::from(u32::MAX))), &["owner"]);
    refused(&change(|h| h.set_gid(1 << 32)), &["group"]);
    let mut wrong = Tar::new().file("sum", b"").end();
    wrong[0] ^= 1;
    refused(&wrong, &["checksum"]);
    refused(&[b'x'; 2000], &["checksum"]);
    refused(
        &Tar::new().pax(&[("uid", b"-1")]).file("p", b"").end(),
        &["pax record \"uid\" is malformed"],
    );
    refused(
        &Tar::new().device(EntryType::Char, "dev", 1 << 20, 0).end(),
        &["device number"],
    );
}
