//! The databases, opened once: saving, removing and reading records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use crate::writer::{Change, Writer};
use crate::{Durability, LoadError, Loaded, OpenError, Record, SaveError, backend, record};

/// Memory each database may use for its cache, in bytes.
const CACHE_BYTES: usize = 1 << 20;

/// The databases of one root directory; one process at a time.
#[derive(Debug)]
pub struct Store {
    durable: Writer,
    records: Writer,
    set_aside: Option<PathBuf>,
}

impl Store {
    /// Opens the databases under `directory`, making them where they are not there yet.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has them open; otherwise what failed.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(directory).map_err(|source| OpenError::File {
            path: directory.to_owned(),
            source,
        })?;
        let durable = open_database(&directory.join("durable.redb"), Durability::Synced)?;
        let path = directory.join("records.redb");
        let (records, set_aside) = match open_database(&path, Durability::Unsynced) {
            Ok(database) => (database, None),
            Err(OpenError::Database { .. }) => {
                let aside = directory.join("records.damaged.redb");
                std::fs::rename(&path, &aside).map_err(|source| OpenError::File {
                    path: path.clone(),
                    source,
                })?;
                (open_database(&path, Durability::Unsynced)?, Some(aside))
            }
            Err(other) => return Err(other),
        };
        Ok(Self {
            durable: Writer::start("store-durable", durable).map_err(|source| OpenError::File {
                path: directory.to_owned(),
                source,
            })?,
            records: Writer::start("store-records", records)
                .map_err(|source| OpenError::File { path, source })?,
            set_aside,
        })
    }

    /// Returns where a damaged `records.redb` was put when this store was opened.
    #[must_use]
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    fn writer(&self, durability: Durability) -> &Writer {
        match durability {
            Durability::Synced => &self.durable,
            Durability::Unsynced => &self.records,
        }
    }

    fn change<T: Record>(key: &str, value: Option<&T>) -> Result<Change, SaveError> {
        let bytes = value
            .map(record::encode)
            .transpose()
            .map_err(|source| SaveError::Encode {
                table: T::TABLE,
                key: key.to_owned(),
                source,
            })?;
        Ok(Change {
            table: T::TABLE,
            key: key.to_owned(),
            value: bytes,
        })
    }

    /// Writes a record; returns once a crash of this process cannot lose it.
    ///
    /// # Errors
    /// Names the table and the key; nothing was written then.
    pub async fn save<T: Record>(
        &self,
        durability: Durability,
        key: &str,
        value: &T,
    ) -> Result<(), SaveError> {
        let change = Self::change(key, Some(value))?;
        self.writer(durability).apply(change).await
    }

    /// Queues a record for writing at once, after all that was queued before it, and returns what
    /// waits for it: for callers whose order counts, and who may not wait.
    ///
    /// # Errors
    /// When the record has no JSON form; the future's are those of [`Store::save`].
    pub fn save_in_turn<T: Record>(
        &self,
        durability: Durability,
        key: &str,
        value: &T,
    ) -> Result<impl Future<Output = Result<(), SaveError>> + Send + use<T>, SaveError> {
        let change = Self::change(key, Some(value))?;
        Ok(self.writer(durability).apply(change))
    }

    /// Queues a record for writing, after all that was queued before it, and does not wait.
    ///
    /// For state that can be found out again; a write that fails is only logged.
    ///
    /// # Errors
    /// When the record has no JSON form.
    pub fn save_later<T: Record>(
        &self,
        durability: Durability,
        key: &str,
        value: &T,
    ) -> Result<(), SaveError> {
        let change = Self::change(key, Some(value))?;
        self.writer(durability).apply_later(change);
        Ok(())
    }

    /// Removes a record; succeeds if there is none.
    ///
    /// # Errors
    /// Names the table and the key; the record is still there then.
    pub async fn remove<T: Record>(
        &self,
        durability: Durability,
        key: &str,
    ) -> Result<(), SaveError> {
        let change = Self::change::<T>(key, None)?;
        self.writer(durability).apply(change).await
    }

    /// As [`Store::save`], for callers on blocking threads.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub fn save_blocking<T: Record>(
        &self,
        durability: Durability,
        key: &str,
        value: &T,
    ) -> Result<(), SaveError> {
        let change = Self::change(key, Some(value))?;
        self.writer(durability).apply_blocking(change)
    }

    /// As [`Store::remove`], for callers on blocking threads.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub fn remove_blocking<T: Record>(
        &self,
        durability: Durability,
        key: &str,
    ) -> Result<(), SaveError> {
        let change = Self::change::<T>(key, None)?;
        self.writer(durability).apply_blocking(change)
    }

    /// Reads a whole table from both databases; for start-up, on a blocking thread.
    ///
    /// # Errors
    /// When a database cannot be read at all. Single bad records are in [`Loaded::unreadable`].
    pub fn load_all<T: Record>(&self) -> Result<Loaded<T>, LoadError> {
        let mut loaded = Loaded {
            records: Vec::new(),
            unreadable: Vec::new(),
        };
        for durability in [Durability::Synced, Durability::Unsynced] {
            let database = self.writer(durability).database();
            read_table(&database, durability, &mut loaded).map_err(|source| LoadError {
                table: T::TABLE,
                source: Box::new(source),
            })?;
        }
        Ok(loaded)
    }
}

fn read_table<T: Record>(
    database: &Arc<Database>,
    durability: Durability,
    loaded: &mut Loaded<T>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_read()?;
    let definition: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(T::TABLE);
    let table = match transaction.open_table(definition) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(other) => return Err(other.into()),
    };
    for entry in table.iter()? {
        let (key, value) = entry?;
        match record::decode::<T>(value.value()) {
            Some(record) => loaded.records.push((key.value().to_owned(), record)),
            None => loaded.unreadable.push((durability, key.value().to_owned())),
        }
    }
    Ok(())
}

fn open_database(path: &Path, durability: Durability) -> Result<Database, OpenError> {
    let backend = backend::PageCacheFile::open(path, durability)?;
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(|source| OpenError::Database {
            path: path.to_owned(),
            source: Box::new(source),
        })
}
