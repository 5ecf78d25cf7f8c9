//! Devices, which on v2 a program of ours guards.

use anyhow::{Result, ensure};
use proto::cri::LinuxContainerResources;

use crate::guest::{Guest, sh};

pub(super) async fn of_the_host_cannot_be_opened(guest: &mut Guest) -> Result<()> {
    let disk = sh("stat -c '%Hr %Lr' /dev/vda")?;
    let sandbox = guest.sandbox("pod", "").await?;
    let config = guest.container("main", &["/bin/pause"], LinuxContainerResources::default());
    let id = guest.run(&sandbox, &config).await?;
    let line = format!("mknod /tmp/disk b {} && head -c 1 /dev/null", disk.trim());
    guest.exec(&id, &line).await?;
    for reload in [false, true] {
        if reload {
            sh("systemctl daemon-reload")?;
        }
        let opened = guest.exec(&id, "head -c 1 /tmp/disk").await;
        let refused = opened.err().map(|error| error.to_string());
        ensure!(
            refused
                .as_ref()
                .is_some_and(|text| text.contains("not permitted")),
            "{refused:?}"
        );
    }
    Ok(())
}
