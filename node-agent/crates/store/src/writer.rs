//! One thread per database: changes that wait are committed together.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use redb::{Database, TableDefinition};
use tokio::sync::oneshot;

use crate::SaveError;

/// Most changes in one transaction.
const BATCH: usize = 256;

/// A record to write, or to remove where `value` is `None`.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: &'static str,
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
}

type Answer = Result<(), Arc<redb::Error>>;

struct Queued {
    change: Change,
    /// `None`: nobody waits, and a failure is logged here.
    answer: Option<oneshot::Sender<Answer>>,
}

/// The writing side of a database.
#[derive(Debug)]
pub(crate) struct Writer {
    database: Arc<Database>,
    queue: Option<Sender<Queued>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(name: &str, database: Database) -> std::io::Result<Self> {
        let database = Arc::new(database);
        let (queue, incoming) = channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(256 << 10)
            .spawn({
                let database = Arc::clone(&database);
                move || run(&database, &incoming)
            })?;
        Ok(Self {
            database,
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    pub(crate) fn database(&self) -> Arc<Database> {
        Arc::clone(&self.database)
    }

    fn enqueue(&self, change: Change) -> (oneshot::Receiver<Answer>, &'static str, String) {
        let (answer, done) = oneshot::channel();
        let (table, key) = (change.table, change.key.clone());
        if let Some(queue) = &self.queue {
            // A closed queue drops `answer`, which the caller sees as `Closed`.
            drop(queue.send(Queued {
                change,
                answer: Some(answer),
            }));
        }
        (done, table, key)
    }

    pub(crate) async fn apply(&self, change: Change) -> Result<(), SaveError> {
        let (done, table, key) = self.enqueue(change);
        explain(done.await.ok(), table, key)
    }

    pub(crate) fn apply_later(&self, change: Change) {
        if let Some(queue) = &self.queue {
            let queued = Queued {
                change,
                answer: None,
            };
            // The queue is closed only once nobody can call this.
            drop(queue.send(queued));
        }
    }

    pub(crate) fn apply_blocking(&self, change: Change) -> Result<(), SaveError> {
        let (done, table, key) = self.enqueue(change);
        explain(done.blocking_recv().ok(), table, key)
    }
}

impl Drop for Writer {
    /// Writes out what is queued, so that dropping a store loses nothing.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // The thread cannot be told apart from one that ended; nothing is left to do either way.
            drop(thread.join());
        }
    }
}

fn explain(answer: Option<Answer>, table: &'static str, key: String) -> Result<(), SaveError> {
    match answer {
        Some(Ok(())) => Ok(()),
        Some(Err(source)) => Err(SaveError::Write { table, key, source }),
        None => Err(SaveError::Closed { table, key }),
    }
}

fn run(database: &Database, incoming: &Receiver<Queued>) {
    while let Ok(first) = incoming.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match incoming.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        let result = commit(database, &batch).map_err(Arc::new);
        for queued in batch {
            match (queued.answer, &result) {
                // A caller that went away does not need the answer.
                (Some(answer), _) => drop(answer.send(result.clone())),
                (None, Err(error)) => {
                    tracing::error!(table = queued.change.table, key = queued.change.key, error = %error, "record not written");
                }
                (None, Ok(())) => {}
            }
        }
    }
}

fn commit(database: &Database, batch: &[Queued]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for Queued { change, .. } in batch {
        let definition: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(change.table);
        let mut table = transaction.open_table(definition)?;
        match &change.value {
            Some(bytes) => drop(table.insert(change.key.as_str(), bytes.as_slice())?),
            None => drop(table.remove(change.key.as_str())?),
        }
    }
    transaction.commit()?;
    Ok(())
}
