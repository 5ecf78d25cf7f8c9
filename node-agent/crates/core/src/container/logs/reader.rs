//! Following a log: what is there, then what comes, across rotations.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

use super::line::{LogLine, parse};
use super::{LogOptions, LogsError, files};
use crate::services::blocking;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

type Lines = Sender<Result<LogLine, LogsError>>;
type Ended<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

/// Reads a log into `lines` until its end, or, following, until `ended` and the end after that.
pub(super) async fn run(
    path: PathBuf,
    options: LogOptions,
    lines: Lines,
    ended: impl Future<Output = ()> + Send + 'static,
) {
    let failed = |source| LogsError::Read {
        path: path.clone(),
        source,
    };
    let mut ended = std::pin::pin!(ended);
    let result = read_all(&path, options, &lines, ended.as_mut()).await;
    if let Err(source) = result {
        // A client that went away does not need to know.
        drop(lines.send(Err(failed(source))).await);
    }
}

async fn read_all(
    path: &Path,
    options: LogOptions,
    lines: &Lines,
    ended: Ended<'_>,
) -> std::io::Result<()> {
    let watch = if options.follow {
        Some(Watch::new(path)?)
    } else {
        None
    };
    let history = {
        let path = path.to_owned();
        blocking(move || files::all(&path))
            .await
            .map_err(std::io::Error::other)??
    };
    let mut filter = Filter::new(options);
    let mut file = Source::default();
    for next in history {
        file.replace(next);
        while file.fill().await? {
            if filter.pass(&mut file, lines).await.is_err() {
                return Ok(());
            }
        }
    }
    if filter.finish_tail(lines).await.is_err() {
        return Ok(());
    }
    match watch {
        Some(watch) => follow(path, &mut file, &mut filter, lines, &watch, ended).await,
        None => Ok(()),
    }
}

async fn follow(
    path: &Path,
    file: &mut Source,
    filter: &mut Filter,
    lines: &Lines,
    watch: &Watch,
    mut ended: Ended<'_>,
) -> std::io::Result<()> {
    let mut last = false;
    loop {
        while file.fill().await? {
            if filter.pass(file, lines).await.is_err() {
                return Ok(());
            }
        }
        if let Some(next) = file.rotated(path).await? {
            // Whoever writes has let go of it by now; what came since the last look is in it.
            while file.fill().await? {
                if filter.pass(file, lines).await.is_err() {
                    return Ok(());
                }
            }
            file.replace(next);
            continue;
        }
        if last || filter.is_past_end() {
            return Ok(());
        }
        tokio::select! {
            () = &mut ended => last = true,
            changed = watch.changed() => changed?,
            () = lines.closed() => return Ok(()),
        }
    }
}

/// The file being read, and the bytes of it that are no whole line yet.
#[derive(Default)]
struct Source {
    file: Option<File>,
    pending: Vec<u8>,
}

impl Source {
    fn replace(&mut self, file: File) {
        self.file = Some(file);
        self.pending.clear();
    }

    /// Reads more; `false` at the end of the file.
    async fn fill(&mut self) -> std::io::Result<bool> {
        let Some(mut file) = self.file.take() else {
            return Ok(false);
        };
        let mut pending = std::mem::take(&mut self.pending);
        let work = move || {
            let before = pending.len();
            let read = file
                .by_ref()
                .take(CHUNK as u64)
                .read_to_end(&mut pending)
                .map(|_| pending.len() > before);
            (file, pending, read)
        };
        let (file, pending, read) = blocking(work).await.map_err(std::io::Error::other)?;
        self.file = Some(file);
        self.pending = pending;
        read
    }

    /// Returns the file that comes after the one being read, where there is one by now.
    async fn rotated(&mut self, path: &Path) -> std::io::Result<Option<File>> {
        let (file, path) = (self.file.take(), path.to_owned());
        let work = move || {
            let next = files::next(&path, file.as_ref());
            (file, next)
        };
        let (file, next) = blocking(work).await.map_err(std::io::Error::other)?;
        self.file = file;
        next
    }

    /// Takes the whole lines out.
    fn take_lines(&mut self) -> Vec<LogLine> {
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end + 1);
        let whole = std::mem::replace(&mut self.pending, rest);
        whole
            .split(|byte| *byte == b'\n')
            .filter_map(parse)
            .collect()
    }
}

/// The client went away.
struct Closed;

/// Keeps what the options leave of a log.
struct Filter {
    options: LogOptions,
    /// The last lines, as long as the history is being read.
    tail: Option<VecDeque<LogLine>>,
    past_end: bool,
}

impl Filter {
    fn new(options: LogOptions) -> Self {
        Self {
            tail: options.tail.map(|_| VecDeque::new()),
            options,
            past_end: false,
        }
    }

    fn is_past_end(&self) -> bool {
        self.past_end
    }

    fn wants(&mut self, line: &LogLine) -> bool {
        let options = &self.options;
        if options.until.is_some_and(|until| line.time > until) {
            self.past_end = true;
            return false;
        }
        options.since.is_none_or(|since| line.time >= since)
            && options.stream.is_none_or(|stream| line.stream == stream)
    }

    async fn pass(&mut self, file: &mut Source, lines: &Lines) -> Result<(), Closed> {
        for line in file.take_lines() {
            if !self.wants(&line) {
                continue;
            }
            match &mut self.tail {
                Some(tail) => {
                    tail.push_back(line);
                    let most = self.options.tail.unwrap_or(u64::MAX);
                    trim(tail, most);
                }
                None => lines.send(Ok(line)).await.map_err(|_| Closed)?,
            }
        }
        Ok(())
    }

    async fn finish_tail(&mut self, lines: &Lines) -> Result<(), Closed> {
        for line in self.tail.take().into_iter().flatten() {
            lines.send(Ok(line)).await.map_err(|_| Closed)?;
        }
        Ok(())
    }
}

/// Drops from the front until at most so many lines are left; parts of a line count with it.
fn trim(tail: &mut VecDeque<LogLine>, most: u64) {
    let whole = |line: &LogLine| line.data.last() == Some(&b'\n');
    let ended = tail.iter().filter(|line| whole(line)).count() as u64;
    let open = u64::from(tail.back().is_some_and(|line| !whole(line)));
    let mut count = ended + open;
    while count > most {
        match tail.pop_front() {
            Some(line) if whole(&line) => count -= 1,
            Some(_) => {}
            None => break,
        }
    }
}

/// Tells when something happens to the files of a directory.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn new(path: &Path) -> std::io::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let fd = inotify::init(flags)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, directory, events)?;
        #[expect(
            deprecated,
            reason = "the safe constructor; an OwnedFd never changes its descriptor"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self(fd))
    }

    async fn changed(&self) -> std::io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let mut buffer = [0_u8; 4096];
            let read = guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            time: crate::time::Timestamp(0),
            stream: super::super::line::Stream::Stdout,
            data: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_tail_counts_lines_and_not_their_parts() {
        let mut tail: VecDeque<_> = ["a\n", "b1", "b2\n", "c"].map(line).into();
        trim(&mut tail, 2);
        let left: Vec<_> = tail.iter().map(|line| line.data.as_slice()).collect();
        assert_eq!(left, [&b"b1"[..], b"b2\n", b"c"]);
    }

    #[tokio::test]
    async fn a_followed_log_is_read_across_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let text = |n: u32| format!("1970-01-01T00:00:0{n}Z stdout F line {n}\n");
        std::fs::write(&path, text(1)).unwrap();
        let (lines, mut received) = tokio::sync::mpsc::channel(4);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let reading = tokio::spawn(run(path.clone(), options, lines, async move {
            drop(ended.await);
        }));
        let mut next = async || received.recv().await.map(|line| line.unwrap().data);
        assert_eq!(next().await.unwrap(), b"line 1\n");
        std::fs::rename(&path, directory.path().join("log.1")).unwrap();
        std::fs::write(&path, text(2)).unwrap();
        assert_eq!(next().await.unwrap(), b"line 2\n");
        end.send(()).unwrap();
        assert_eq!(next().await, None);
        reading.await.unwrap();
    }
}
