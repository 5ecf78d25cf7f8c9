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

/// Who waits for a change.
enum Waiter {
    Task(oneshot::Sender<Answer>),
    Thread(Sender<Answer>),
    /// Nobody: a failure is logged here.
    Nobody,
}

struct Queued {
    change: Change,
    waiter: Waiter,
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

    /// A closed queue drops the waiter, which the caller sees as [`SaveError::Closed`].
    fn enqueue(&self, change: Change, waiter: Waiter) {
        if let Some(queue) = &self.queue {
            drop(queue.send(Queued { change, waiter }));
        }
    }

    /// Queues a change at once, and returns what waits for it.
    pub(crate) fn apply(
        &self,
        change: Change,
    ) -> impl Future<Output = Result<(), SaveError>> + Send + use<> {
        let (waiter, done) = oneshot::channel();
        let (table, key) = (change.table, change.key.clone());
        self.enqueue(change, Waiter::Task(waiter));
        async move { explain(done.await.ok(), table, key) }
    }

    pub(crate) fn apply_later(&self, change: Change) {
        self.enqueue(change, Waiter::Nobody);
    }

    pub(crate) fn apply_blocking(&self, change: Change) -> Result<(), SaveError> {
        let (waiter, done) = channel();
        let (table, key) = (change.table, change.key.clone());
        self.enqueue(change, Waiter::Thread(waiter));
        explain(done.recv().ok(), table, key)
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
            match (queued.waiter, &result) {
                // A caller that went away does not need the answer.
                (Waiter::Task(waiter), _) => drop(waiter.send(result.clone())),
                (Waiter::Thread(waiter), _) => drop(waiter.send(result.clone())),
                (Waiter::Nobody, Err(error)) => {
                    tracing::error!(table = queued.change.table, key = queued.change.key, error = %error, "record not written");
                }
                (Waiter::Nobody, Ok(())) => {}
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
