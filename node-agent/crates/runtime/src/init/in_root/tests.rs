use super::*;
use proptest::prelude::*;
use std::os::unix::fs::symlink;

struct Tree {
    directory: tempfile::TempDir,
    root: OwnedFd,
}

fn tree() -> Tree {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("root")).unwrap();
    std::fs::create_dir(directory.path().join("outside")).unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let root = rustix::fs::open(directory.path().join("root"), flags, Mode::empty()).unwrap();
    Tree { directory, root }
}

fn is_same(tree: &Tree, made: &OwnedFd, path: &str) -> bool {
    let expected = rustix::fs::stat(tree.directory.path().join(path)).unwrap();
    same_file(&fstat(made).unwrap(), &expected)
}

#[test]
fn missing_directories_are_made() {
    let tree = tree();
    let made = InRoot(tree.root.as_fd())
        .ensure(Path::new("/a/b/c"), Last::Directory)
        .unwrap();
    assert!(is_same(&tree, &made, "root/a/b/c"));
    let file = InRoot(tree.root.as_fd())
        .ensure(Path::new("/a/x/f"), Last::File)
        .unwrap();
    assert!(is_same(&tree, &file, "root/a/x/f"));
    assert!(tree.directory.path().join("root/a/x/f").is_file());
}

#[test]
fn a_dangling_link_is_filled_inside_the_root() {
    let tree = tree();
    let root = tree.directory.path().join("root");
    std::fs::create_dir(root.join("var")).unwrap();
    symlink("/run", root.join("var/run")).unwrap();
    let made = InRoot(tree.root.as_fd())
        .ensure(Path::new("/var/run/lock"), Last::Directory)
        .unwrap();
    assert!(is_same(&tree, &made, "root/run/lock"));
}

#[test]
fn hostile_08_links_out_of_the_root_stay_inside() {
    let tree = tree();
    let root = tree.directory.path().join("root");
    let outside = tree.directory.path().join("outside");
    symlink("../../../../..", root.join("up")).unwrap();
    symlink(&outside, root.join("abs")).unwrap();
    symlink("../outside", root.join("rel")).unwrap();
    for path in [
        "/up/x",
        "/abs/x",
        "/rel/x",
        "/../outside/x",
        "/a/../../outside/x",
    ] {
        InRoot(tree.root.as_fd())
            .ensure(Path::new(path), Last::Directory)
            .unwrap();
    }
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(tree.directory.path()).unwrap().count(), 2);
}

#[test]
fn a_loop_of_links_ends() {
    let tree = tree();
    let root = tree.directory.path().join("root");
    symlink("b", root.join("a")).unwrap();
    symlink("a/missing", root.join("b")).unwrap();
    let error = InRoot(tree.root.as_fd())
        .ensure(Path::new("/a/c"), Last::Directory)
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
}

#[test]
fn a_file_on_the_way_is_refused() {
    let tree = tree();
    std::fs::write(tree.directory.path().join("root/f"), "").unwrap();
    let error = InRoot(tree.root.as_fd())
        .ensure(Path::new("/f/x"), Last::Directory)
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::NOTDIR.raw_os_error()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_is_ever_made_outside(
        parts in proptest::collection::vec("(a|b|l1|l2|\\.\\.|\\.)", 1..8),
        target1 in "(/|\\.\\./|a/|b/|\\.\\./\\.\\./){1,4}x?",
        target2 in "(/|\\.\\./|l1/|\\.\\./\\.\\./){1,4}y?",
    ) {
        let tree = tree();
        let root = tree.directory.path().join("root");
        symlink(target1, root.join("l1")).unwrap();
        symlink(target2, root.join("l2")).unwrap();
        let _ = InRoot(tree.root.as_fd()).ensure(Path::new(&parts.join("/")), Last::Directory);
        prop_assert_eq!(std::fs::read_dir(tree.directory.path()).unwrap().count(), 2);
        prop_assert_eq!(std::fs::read_dir(tree.directory.path().join("outside")).unwrap().count(), 0);
    }
}
