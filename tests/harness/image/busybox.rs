//! The lowest layer of most images here: Debian's static busybox, and what every small system has.

use anyhow::{Context as _, Result};

use super::{LayerBuilder, pause_program};

/// Where Debian's `busybox-static` package puts its program.
const BUSYBOX: &str = "/bin/busybox";

/// Returns the layer with busybox, its links, and the files every small system has.
pub fn busybox_layer() -> Result<LayerBuilder> {
    let program = std::fs::read(BUSYBOX).context("read busybox (package busybox-static)")?;
    let mut layer = LayerBuilder::new();
    for (directory, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("tmp", 0o1777),
        ("root", 0o700),
        ("home", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
        ("dev", 0o755),
        ("var", 0o755),
        ("usr", 0o755),
    ] {
        layer.directory(directory, mode)?;
    }
    layer.file("bin/busybox", &program, 0o755)?;
    for applet in APPLETS.split_whitespace() {
        layer.symlink(&format!("bin/{applet}"), "busybox")?;
    }
    layer.file("bin/pause", &pause_program()?, 0o755)?;
    layer.file("etc/passwd", PASSWD.as_bytes(), 0o644)?;
    layer.file("etc/group", GROUP.as_bytes(), 0o644)?;
    Ok(layer)
}

const APPLETS: &str = "sh ash cat echo true false sleep ls ps id env mount umount df du wc head tail grep sed awk \
    nc wget httpd ip ifconfig ping hostname stat touch mkdir rmdir rm mv cp ln chmod chown mknod dd kill test sync \
    sysctl dmesg find sort uniq tr cut date seq yes printf readlink tee xargs nslookup stty tty pwd vi top uname \
    setsid timeout unshare nsenter getopt expr od hexdump md5sum sha256sum base64 chroot nproc free time mkfifo trap tar";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n\
    user:x:1000:1000:A user:/home:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\nuser:x:1000:\nextra:x:2000:user\n";
