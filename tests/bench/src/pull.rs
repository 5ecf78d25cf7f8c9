//! Pulling and unpacking a large image from a registry on loopback, the peers in turns.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use harness::image::{BigImage, Image};
use harness::registry::Registry;

use crate::cli::Cli;
use crate::peer::Peer;
use crate::report::{Figure, Report};
use crate::stats::{milliseconds, percentile};

/// Measures every peer, and five `tar` side by side for comparison.
pub(crate) async fn measure(
    cli: &Cli,
    peers: &[Peer],
    registry: &Registry,
    report: &mut Report,
) -> Result<()> {
    let mut times = vec![Vec::new(); peers.len()];
    let (mut packed, mut floor) = (0_usize, 0.0);
    // An image of its own each time: a peer may keep what it knows after an image was removed.
    for number in 0..cli.pulls {
        eprintln!("making a large image");
        let image = BigImage::BENCHMARK.build_numbered(number as u64)?;
        let reference = registry.push(&format!("bench/large:{number}"), &image)?;
        if number == 0 {
            floor = tar_side_by_side(&image)?;
            packed = image.blobs.iter().map(|blob| blob.bytes.len()).sum();
        }
        drop(image);
        for (peer, times) in peers.iter().zip(&mut times) {
            let begun = Instant::now();
            peer.pods
                .cri
                .pull(&reference)
                .await
                .with_context(|| format!("{} pulls", peer.name))?;
            times.push(milliseconds(begun.elapsed()));
            peer.pods
                .cri
                .remove_image(&reference)
                .await
                .with_context(|| format!("{} removes", peer.name))?;
        }
    }
    let title = format!(
        "pull of {} MiB in {} gzip layers",
        packed >> 20,
        BigImage::BENCHMARK.layers
    );
    for (peer, times) in peers.iter().zip(&times) {
        report.add(
            &Figure::lower(&title, "pull and unpack, p50", "ms"),
            &peer.name,
            percentile(times, 50),
        );
    }
    report.note(format!(
        "five `tar -xz` side by side unpack the same layers in {floor:.0} ms"
    ));
    Ok(())
}

fn tar_side_by_side(image: &Image) -> Result<f64> {
    let directory = tempfile::tempdir().context("make a directory for tar")?;
    let layers = image.blobs.len() - 1;
    for (number, blob) in image.blobs.iter().take(layers).enumerate() {
        std::fs::write(directory.path().join(format!("{number}.tgz")), &blob.bytes)?;
        std::fs::create_dir(directory.path().join(number.to_string()))?;
    }
    let begun = Instant::now();
    let mut children = Vec::new();
    for number in 0..layers {
        let input = File::open(directory.path().join(format!("{number}.tgz")))?;
        let target = directory.path().join(number.to_string());
        children.push(
            Command::new("tar")
                .arg("-xzC")
                .arg(target)
                .stdin(input)
                .stdout(Stdio::null())
                .spawn()?,
        );
    }
    for mut child in children {
        ensure!(child.wait()?.success(), "tar could not unpack a layer");
    }
    Ok(milliseconds(begun.elapsed()))
}
