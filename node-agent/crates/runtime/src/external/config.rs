//! The specification as another runtime is given it.

use std::path::{Path, PathBuf};

use agent_types::user::User;
use oci_spec::runtime::{
    BoxBuilder, LinuxNamespace, LinuxNamespaceType, Mount, Process, Root, Spec,
};

use crate::failure::Failure;
use crate::init::Step;

/// Where the parts of a container lie.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Mount point of its root.
    pub(crate) root: PathBuf,
    /// The sandbox's /dev/shm.
    pub(crate) shm: Option<PathBuf>,
    /// Volumes, by their destination.
    pub(crate) volumes: Vec<(String, PathBuf)>,
    /// Namespaces to join; those of these kinds that are not named are the host's.
    pub(crate) joined: Vec<(LinuxNamespaceType, PathBuf)>,
    /// Whether it gets a PID namespace of its own.
    pub(crate) own_pid: bool,
    /// Height and width of its terminal.
    pub(crate) terminal: Option<(u16, u16)>,
}

/// Kinds of namespaces that the sandbox decides about.
const OF_SANDBOX: [LinuxNamespaceType; 4] = [
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::Pid,
];

/// Fits a specification to where things lie.
pub(crate) fn rewrite(spec: &mut Spec, places: &Places, user: &User) -> Step<()> {
    let mut root = spec.root().clone().unwrap_or_default();
    root.set_path(places.root.clone());
    spec.set_root(Some::<Root>(root));
    let Some(mut process) = spec.process().clone() else {
        return Err(Failure::invalid(
            "run",
            "the container",
            "its specification has no process",
        ));
    };
    set_user(&mut process, user);
    process.set_terminal(Some(places.terminal.is_some()));
    if let Some((rows, columns)) = places.terminal {
        set_size(&mut process, rows, columns);
    }
    spec.set_process(Some(process));
    let mounts = spec.mounts().clone().unwrap_or_default();
    let mounts = mounts.into_iter().map(|mount| placed(mount, places));
    spec.set_mounts(Some(mounts.collect()));
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|namespace| !OF_SANDBOX.contains(&namespace.typ()));
    for (kind, path) in &places.joined {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(*kind).set_path(Some(path.clone()));
        namespaces.push(namespace);
    }
    if places.own_pid {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(LinuxNamespaceType::Pid);
        namespaces.push(namespace);
    }
    linux.set_namespaces(Some(namespaces));
    spec.set_linux(Some(linux));
    let joins_names = places
        .joined
        .iter()
        .any(|(kind, _)| *kind == LinuxNamespaceType::Uts);
    if joins_names {
        // The sandbox's is set already, and a runtime refuses to set one that is not new.
        spec.set_hostname(None).set_domainname(None);
    }
    Ok(())
}

fn placed(mut mount: Mount, places: &Places) -> Mount {
    let volumes = places.volumes.iter();
    let mut volumes = volumes.filter(|(there, _)| Path::new(there) == mount.destination());
    let source = match volumes.next() {
        Some((_, source)) => source,
        None => match &places.shm {
            Some(shm) if mount.destination() == Path::new("/dev/shm") => shm,
            _ => return mount,
        },
    };
    let is_bind = |word: &String| matches!(word.as_str(), "bind" | "rbind");
    let options = mount.options().clone().unwrap_or_default();
    let options = match options.iter().any(is_bind) {
        true => options,
        // What a file system of its own would be made with is no option of a bind mount.
        false => ["rbind", "nosuid", "nodev", "noexec"]
            .map(str::to_owned)
            .to_vec(),
    };
    mount
        .set_source(Some(source.clone()))
        .set_typ(Some("bind".to_owned()))
        .set_options(Some(options));
    mount
}

/// Says whom a process runs as, in numbers.
pub(crate) fn set_user(process: &mut Process, user: &User) {
    let mut numbers = process.user().clone();
    numbers
        .set_uid(user.uid)
        .set_gid(user.gid)
        .set_additional_gids(Some(user.groups.clone()))
        .set_username(None);
    process.set_user(numbers);
}

/// Says how large a process's terminal is; 0: nobody knows.
pub(crate) fn set_size(process: &mut Process, rows: u16, columns: u16) {
    if rows == 0 || columns == 0 {
        return;
    }
    let size = BoxBuilder::default()
        .height(u64::from(rows))
        .width(u64::from(columns));
    // Both have been given, so it is whole.
    process.set_console_size(size.build().ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_fitted_to_where_things_lie() {
        let text = r#"{
            "ociVersion": "1.2.0",
            "hostname": "pod",
            "root": {"path": "", "readonly": true},
            "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev/shm", "type": "tmpfs", "options": ["size=1"]},
                {"destination": "/data", "type": "bind", "source": "/host", "options": ["rbind", "ro"]}
            ],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "pid"}, {"type": "uts"}]}
        }"#;
        let mut spec: Spec = serde_json::from_str(text).unwrap();
        let places = Places {
            root: "/b/rootfs".into(),
            shm: Some("/b/shm".into()),
            volumes: vec![("/data".to_owned(), "/b/volumes/0".into())],
            joined: vec![
                (LinuxNamespaceType::Network, "/proc/1/fd/3".into()),
                (LinuxNamespaceType::Uts, "/proc/1/fd/4".into()),
            ],
            own_pid: true,
            terminal: Some((24, 80)),
        };
        let user = User {
            uid: 7,
            gid: 8,
            groups: vec![8, 9],
            home: None,
        };
        rewrite(&mut spec, &places, &user).unwrap();
        let seen = serde_json::to_value(&spec).unwrap();
        assert_eq!(seen["root"]["path"], "/b/rootfs");
        assert_eq!(seen["root"]["readonly"], true);
        assert_eq!(seen["process"]["user"]["uid"], 7);
        assert_eq!(seen["process"]["terminal"], true);
        assert_eq!(seen["process"]["consoleSize"]["width"], 80);
        assert_eq!(seen["mounts"][1]["source"], "/b/shm");
        assert_eq!(seen["mounts"][1]["options"][0], "rbind");
        assert_eq!(seen["mounts"][2]["source"], "/b/volumes/0");
        assert_eq!(seen["mounts"][2]["options"][1], "ro");
        let namespaces = seen["linux"]["namespaces"].as_array().unwrap();
        let kinds: Vec<_> = namespaces
            .iter()
            .map(|one| (one["type"].as_str().unwrap(), one["path"].as_str()))
            .collect();
        assert_eq!(
            kinds,
            [
                ("mount", None),
                ("network", Some("/proc/1/fd/3")),
                ("uts", Some("/proc/1/fd/4")),
                ("pid", None)
            ]
        );
        assert!(seen["hostname"].is_null());
    }
}
