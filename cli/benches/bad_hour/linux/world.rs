//! The daemon and everything around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::backend::FakeOllama;
use super::daemon::DaemonProcess;
use super::disk::Disk;
use super::load::{Accepted, Load, body};
use super::prompt::{answer, prompt};
use super::receiver::Receiver;
use super::{SECRET, TOKENS};

/// A store of the present version. A change of the version leaves it as it is, so that the daemon migrates it then.
const OLD_STORE: &str = include_str!("../old_store.sql");

/// The numbers of its jobs begin with 1. The first two have ended, and the last two have webhooks.
const OLD_JOBS: u32 = 6;

const OLD_JOBS_WITHOUT_WEBHOOK: u32 = 4;

pub(crate) struct World {
    pub(crate) daemon: DaemonProcess,
    pub(crate) backend: FakeOllama,
    /// The first one dies. The others live.
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) disk: Disk,
    pub(crate) store: PathBuf,
    pub(crate) load: Arc<Load>,
}

impl World {
    pub(crate) async fn start(folder: &Path) -> Self {
        let disk_folder = folder.join("disk");
        std::fs::create_dir(&disk_folder).unwrap();
        let disk = Disk::mount(&disk_folder);
        let (store, log) = (disk_folder.join("jobs.db"), folder.join("log"));
        let receivers: Vec<_> = ["127.0.0.4", "127.0.0.5", "127.0.0.6"].map(Receiver::start).into();
        let load = Arc::<Load>::default();
        create_old_store(&store, &receivers, &load);

        let backend = FakeOllama::start();
        let args = ["--store", store.to_str().unwrap(), "--webhook-secret", SECRET, "--drain", "1s", "--backend"];
        let mut args: Vec<_> = args.iter().map(Into::into).collect();
        args.push(format!("ollama=http://{}", backend.address()).into());
        args.extend(TOKENS.iter().flat_map(|token| ["--token".into(), token.into()]));
        let daemon = DaemonProcess::start(args, log).await;
        Self { daemon, backend, receivers, disk, store, load }
    }
}

/// Creates the old store, and adds its jobs to those that were accepted.
fn create_old_store(store: &Path, receivers: &[Receiver], load: &Load) {
    let url = receivers[1].url();
    let mut old_store = OLD_STORE.replace("{receiver}", &url);
    for number in 1..=OLD_JOBS {
        let answer = answer(&prompt(&format!("old-{number}"), 40, 0));
        old_store = old_store.replace(&format!("{{answer-{number}}}"), &answer);
    }
    Connection::open(store).unwrap().execute_batch(&old_store).unwrap();
    let mut accepted = load.accepted.lock().unwrap();
    for number in 1..=OLD_JOBS {
        let key = format!("key-old-{number}");
        let prompt = prompt(&format!("old-{number}"), 40, 0);
        let has_webhook = number > OLD_JOBS_WITHOUT_WEBHOOK;
        // The address is another one each time, so that those with a webhook cannot be submitted again with the same body.
        let body = (!has_webhook).then(|| body(&prompt, None));
        let receiver = has_webhook.then_some(1);
        let id = format!("0000000000000000000000000000000{number}");
        accepted.push(Accepted { id, key, token: TOKENS[0], prompt, receiver, body });
    }
}
