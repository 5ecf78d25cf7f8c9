//! Reads stdin, which only a thread of its own can do without keeping anything waiting.

use std::io::{self, Read};

use tokio::sync::mpsc;

use crate::error::CommandError;

const CHUNK: usize = 32 << 10;

/// What came from stdin.
#[derive(Debug)]
pub(super) enum Typed {
    Bytes(Vec<u8>),
    End,
}

/// Starts reading stdin. The thread ends with the process: a read cannot be called off.
pub(super) fn read_stdin() -> Result<mpsc::Receiver<Typed>, CommandError> {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || pass_on(&sender))
        .map_err(|source| CommandError::Runtime { source })?;
    Ok(receiver)
}

fn pass_on(sender: &mpsc::Sender<Typed>) {
    let mut stdin = io::stdin();
    let mut buffer = vec![0; CHUNK];
    loop {
        let typed = match stdin.read(&mut buffer) {
            Ok(count) if count > 0 => Typed::Bytes(buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // To the container, an input that fails has ended.
            Ok(_) | Err(_) => Typed::End,
        };
        let ended = matches!(typed, Typed::End);
        if sender.blocking_send(typed).is_err() || ended {
            return;
        }
    }
}
