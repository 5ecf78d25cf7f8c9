//! Unpacks layer blobs, all at once, and prints how long that took.
//!
//! `cargo run --release --example unpack -- DIR BLOB...`: `DIR` takes the snapshots, and is left.

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use agent_snapshot::{Limits, Snapshots};

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let dir = arguments.next().ok_or("usage: unpack DIR BLOB...")?;
    let blobs: Vec<_> = arguments.collect();
    let (snapshots, _) = Snapshots::open(&dir, "bench")?;
    let started = Instant::now();
    let (mut bytes, mut inodes) = (0, 0);
    let unpack = |blob: &PathBuf| -> Result<_, String> {
        let file = File::open(blob).map_err(|e| e.to_string())?;
        let limits = Limits::default();
        snapshots
            .unpack(file, None, &limits)
            .map_err(|e| format!("{e}: {:?}", e))
    };
    let unpacked: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = blobs
            .iter()
            .map(|blob| scope.spawn(move || unpack(blob)))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let elapsed = started.elapsed();
    for unpacked in unpacked {
        let unpacked = unpacked.map_err(|_| "a thread panicked")??;
        bytes += unpacked.size();
        inodes += unpacked.inodes();
        // Deleting is not what is measured.
        std::mem::forget(unpacked);
    }
    let rate = bytes as f64 / elapsed.as_secs_f64() / 1e6;
    println!(
        "{:.3} s, {bytes} bytes, {inodes} inodes, {rate:.0} MB/s",
        elapsed.as_secs_f64()
    );
    Ok(())
}
