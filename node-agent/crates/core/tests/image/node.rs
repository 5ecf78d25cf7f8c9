//! A node's images in a directory of their own, which can be opened again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_content::ContentStore;
use agent_core::image::{
    ImageRecord, ImageRecords, Images, ImagesConfig, Pin, Pull, PullFailure, PullSpec, Pulled,
    RecordsError,
};
use agent_core::metrics::Phases;
use agent_registry::{Auth, Client, Config, Retries};
use agent_snapshot::Snapshots;
use agent_telemetry::metrics::Registry;
use agent_types::ImageId;

pub(crate) const BOOT: &str = "11111111-1111-1111-1111-111111111111";
pub(crate) const NEXT_BOOT: &str = "22222222-2222-2222-2222-222222222222";

/// Records as files, so that they outlive the node.
#[derive(Debug)]
struct Files(PathBuf);

impl Files {
    fn path(&self, id: &ImageId) -> PathBuf {
        self.0.join(id.0.hex())
    }
}

impl ImageRecords for Files {
    fn load_all(&self) -> Result<Vec<ImageRecord>, RecordsError> {
        let entries = fs::read_dir(&self.0).unwrap();
        let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        Ok(entries.map(|entry| read(entry.unwrap().path())).collect())
    }

    fn save(&self, record: &ImageRecord) -> Result<(), RecordsError> {
        fs::write(self.path(&record.id), serde_json::to_vec(record).unwrap()).unwrap();
        Ok(())
    }

    fn remove(&self, id: &ImageId) -> Result<(), RecordsError> {
        let _ = fs::remove_file(self.path(id));
        Ok(())
    }
}

pub(crate) struct Node {
    pub(crate) directory: Arc<tempfile::TempDir>,
    pub(crate) images: Images,
    pub(crate) content: ContentStore,
    pub(crate) snapshots: Snapshots,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), BOOT, 2)
    }

    /// A node that gives up at the first failure of a registry.
    pub(crate) fn impatient() -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), BOOT, 1)
    }

    /// Opens the same directory again, as after a restart of the agent or of the machine.
    pub(crate) fn reopen(self, boot: &str) -> Self {
        let directory = Arc::clone(&self.directory);
        drop(self);
        Self::open(directory, boot, 2)
    }

    fn open(directory: Arc<tempfile::TempDir>, boot: &str, attempts: u32) -> Self {
        let root = directory.path();
        let records = root.join("records");
        fs::create_dir_all(&records).unwrap();
        let content = ContentStore::open(&root.join("content"), boot).unwrap();
        let (snapshots, _) = Snapshots::open(&root.join("snapshots"), boot).unwrap();
        let client = Client::new(Config {
            retries: Retries {
                attempts,
                connect_attempts: attempts,
                first_wait: Duration::from_millis(1),
                ..Retries::default()
            },
            ..Config::default()
        })
        .unwrap();
        let images = Images::open(
            ImagesConfig::default(),
            content.clone(),
            snapshots.clone(),
            client,
            Box::new(Files(records)),
            Phases::register(&mut Registry::default()),
        )
        .unwrap();
        Self {
            directory,
            images,
            content,
            snapshots,
        }
    }

    pub(crate) fn start(&self, reference: &str) -> Pull {
        self.images.pull(PullSpec {
            reference: reference.parse().unwrap(),
            platform: None,
            auth: Auth::Anonymous,
            pin: Pin::None,
        })
    }

    pub(crate) async fn pull(&self, reference: &str) -> Result<Pulled, PullFailure> {
        self.start(reference).done.await
    }

    /// Returns a file of an image, as the topmost layer that has it shows it.
    pub(crate) fn file(&self, image: &ImageRecord, path: &str) -> Option<Vec<u8>> {
        let layers = self.snapshots.layers(image.top().unwrap()).unwrap();
        let found = |layer: String| fs::read(self.snapshots.base().join(layer).join(path)).ok();
        layers.into_iter().find_map(found)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Asserts that nothing of a failed pull is left: no layer, no half of one, no ingest.
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.snapshots.layer_records(), vec![]);
        assert_eq!(names(&self.path("content/ingest")), Vec::<String>::new());
        assert_eq!(names(&self.path("snapshots/staging")), Vec::<String>::new());
        assert_eq!(self.images.list(), vec![]);
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Prints an error with its causes, as a person would see it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
