use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::wanted::{ModelNames, without_latest};
use crate::ModelInfo;

/// How long the models of a daemon that is gone are known: long enough for an upgrade.
const GONE: Duration = Duration::from_secs(300);

/// The daemons that share a store and have a lease, as they were last read.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// The id of this daemon. It is not among the boxes while its lease is lost.
    pub(crate) this: Uuid,
    /// The name of this daemon.
    pub(crate) name: Box<str>,
    /// In the order of their start.
    pub(crate) boxes: Vec<BoxState>,
    /// Those that were there shortly before.
    pub(crate) gone: Vec<GoneBox>,
}

/// A daemon that has stopped, or whose lease has ended. It may be back soon, as after an upgrade.
#[derive(Debug, Clone)]
pub(crate) struct GoneBox {
    name: String,
    since: Instant,
    models: Arc<ModelNames>,
}

/// A daemon that shares a store.
#[derive(Debug, Clone)]
pub(crate) struct BoxState {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) started_at: Option<Timestamp>,
    /// In how many seconds its lease ends. `None` without leases.
    pub(crate) lease: Option<f64>,
    /// Whether it takes no jobs.
    pub(crate) draining: bool,
    /// How many jobs it runs.
    pub(crate) running: u64,
    /// `None` before one of its backends has listed its models.
    pub(crate) backends: Option<Vec<ListedBackend>>,
    /// The names of the options in which it differs from this daemon, of those that all daemons of a queue should have in common.
    pub(crate) different_options: Vec<String>,
}

/// A backend of a daemon, and the models that it lists.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ListedBackend {
    pub(crate) name: String,
    /// `None` before it has first listed them.
    pub(crate) models: Option<Vec<ModelInfo>>,
    /// Whether it takes jobs of every model.
    #[serde(default)]
    pub(crate) takes_any: bool,
    /// Whether its jobs wait until it is available.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unavailable: bool,
    /// The models that are loaded. `None` if that is not known.
    #[serde(default)]
    pub(crate) loaded: Option<Vec<String>>,
}

impl Fleet {
    /// The other daemons.
    pub(crate) fn others(&self) -> impl Iterator<Item = &BoxState> {
        self.boxes.iter().filter(|one| one.id != self.this)
    }

    /// The other daemons that have other options than this one, without those that were known before.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn newly_different(&self, before: Option<&Self>) -> impl Iterator<Item = &BoxState> {
        let known = move |one: &BoxState| before.is_some_and(|before| before.boxes.iter().any(|was| was.id == one.id));
        self.others().filter(move |one| !one.different_options.is_empty() && !known(one))
    }

    /// Remembers the daemons that are gone since it was last read, until they are back under their names.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn remember_gone(&mut self, before: Option<&Self>) {
        let Some(before) = before else { return };
        let is_in = |fleet: &Self, id| fleet.boxes.iter().any(|one| one.id == id);
        let is_back = |name: &str| self.boxes.iter().any(|one| one.name == name && !is_in(before, one.id));
        let earlier = before.gone.iter().filter(|gone| gone.since.elapsed() < GONE).cloned();
        let left = before.others().filter(|one| !is_in(self, one.id)).map(|one| GoneBox {
            name: one.name.clone(),
            since: Instant::now(),
            models: Arc::new(one.listed().map(|model| &model.name).collect()),
        });
        self.gone = earlier.chain(left).filter(|gone| !is_back(&gone.name)).collect();
    }

    /// The name of a daemon that listed this model, and is gone for a short time.
    pub(crate) fn was_at(&self, model: &str) -> Option<&str> {
        let mut gone = self.gone.iter().filter(|gone| gone.since.elapsed() < GONE);
        gone.find(|gone| gone.models.contain(model)).map(|gone| &*gone.name)
    }

    /// The models that backends of other daemons have loaded, for each backend of which that is known. Drained daemons and unavailable
    /// backends take no jobs.
    pub(crate) fn loaded_elsewhere(&self) -> impl Iterator<Item = ModelNames> {
        let backends = self.others().filter(|one| !one.draining).flat_map(|one| one.backends.iter().flatten());
        backends
            .filter(|backend| !backend.unavailable)
            .filter_map(|backend| Some(backend.loaded.as_ref()?.iter().collect()))
    }

    /// Whether another daemon lists this model.
    pub(crate) fn lists_elsewhere(&self, model: &str) -> bool {
        self.name_with(model).is_some()
    }

    /// The name of another daemon that lists this model.
    pub(crate) fn name_with(&self, model: &str) -> Option<&str> {
        let mut with_model =
            self.others().filter(|one| one.backends.iter().flatten().any(|backend| backend.lists(model)));
        with_model.next().map(|one| &*one.name)
    }

    /// Whether another daemon may have this model, as far as is known.
    pub(crate) fn may_be_elsewhere(&self, model: &str) -> bool {
        self.others().any(|one| match &one.backends {
            Some(backends) => backends.iter().any(|backend| backend.may_have(model)),
            None => true,
        })
    }
}

impl BoxState {
    /// The models that its backends list.
    #[cfg(any(test, feature = "postgres"))]
    fn listed(&self) -> impl Iterator<Item = &ModelInfo> {
        self.backends.iter().flatten().flat_map(|backend| backend.models.iter().flatten())
    }
}

impl ListedBackend {
    fn lists(&self, model: &str) -> bool {
        let model = without_latest(model);
        self.models.iter().flatten().any(|listed| without_latest(&listed.name) == model)
    }

    fn may_have(&self, model: &str) -> bool {
        self.takes_any || self.models.is_none() || self.lists(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: u128, backends: Option<Vec<ListedBackend>>) -> BoxState {
        let name = id.to_string();
        BoxState {
            id: Uuid::from_u128(id),
            name,
            started_at: None,
            lease: None,
            draining: false,
            running: 0,
            backends,
            different_options: Vec::new(),
        }
    }

    fn listed(models: Option<&[&str]>, takes_any: bool) -> ListedBackend {
        let models = models.map(|models| models.iter().map(|name| ModelInfo::new(*name)).collect());
        ListedBackend { name: "gpu".to_owned(), models, takes_any, ..ListedBackend::default() }
    }

    #[test]
    fn daemon_with_other_options_is_new_once() {
        let fleet = |ids: &[u128]| Fleet {
            this: Uuid::from_u128(1),
            name: "1".into(),
            boxes: ids
                .iter()
                .map(|id| BoxState { different_options: vec!["keep".to_owned()], ..one(*id, None) })
                .collect(),
            gone: Vec::new(),
        };
        let ids = |new: &Fleet, before| new.newly_different(before).map(|one| one.id.as_u128()).collect::<Vec<_>>();
        let (first, second) = (fleet(&[1, 2]), fleet(&[1, 2, 3]));
        assert_eq!(
            (ids(&first, None), ids(&first, Some(&first)), ids(&second, Some(&first))),
            (vec![2], vec![], vec![3])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn models_of_a_daemon_that_is_gone_are_known_until_it_is_back_or_for_5_min() {
        let has_m = || Some(vec![listed(Some(&["m:latest"]), false)]);
        let mut fleet = Fleet { this: Uuid::from_u128(1), name: "1".into(), boxes: vec![], gone: Vec::new() };
        let mut read = |boxes: Vec<BoxState>| {
            let mut next = Fleet { boxes, ..fleet.clone() };
            next.gone.clear();
            next.remember_gone(Some(&fleet));
            fleet = next;
            fleet.was_at("m").map(str::to_owned)
        };
        let gone = Some("2".to_owned());
        assert_eq!(read(vec![one(1, has_m()), one(2, has_m())]), None);
        assert_eq!(read(vec![one(1, None)]), gone);
        // Another process of its name, which has not listed its models yet.
        let again = |backends| BoxState { name: "2".to_owned(), ..one(3, backends) };
        assert_eq!(read(vec![one(1, None), again(None)]), None);
        assert_eq!(read(vec![one(1, None), again(has_m())]), None);
        assert_eq!(read(vec![one(1, None)]), gone);
        tokio::time::advance(GONE / 2).await;
        assert_eq!(read(vec![one(1, None), one(4, None)]), gone);
        tokio::time::advance(GONE / 2).await;
        assert_eq!(fleet.was_at("m"), None);
    }

    #[test]
    fn loaded_models_of_daemons_that_take_jobs_count() {
        let box_of = |id, draining, loaded: Option<&[&str]>| {
            let loaded = loaded.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            BoxState { draining, ..one(id, Some(vec![ListedBackend { loaded, ..listed(None, false) }])) }
        };
        let (this, other) = (box_of(1, false, Some(&["this"])), box_of(2, false, Some(&["a", "b:latest"])));
        let down = ListedBackend { loaded: Some(vec!["down".to_owned()]), unavailable: true, ..listed(None, false) };
        let boxes =
            vec![this, other, box_of(3, true, Some(&["drained"])), box_of(4, false, None), one(5, Some(vec![down]))];
        let fleet = Fleet { this: Uuid::from_u128(1), name: "1".into(), boxes, gone: Vec::new() };
        assert!(fleet.loaded_elsewhere().eq([["a", "b"].iter().collect::<ModelNames>()]));
    }

    #[test]
    fn model_may_be_where_it_is_listed_or_lists_are_unknown() {
        let fleet = |backends| Fleet {
            this: Uuid::from_u128(1),
            name: "1".into(),
            boxes: vec![one(1, None), one(2, backends)],
            gone: Vec::new(),
        };
        for (backends, lists, may_have) in [
            (None, false, true),
            (Some(vec![]), false, false),
            (Some(vec![listed(None, false)]), false, true),
            (Some(vec![listed(Some(&[]), true)]), false, true),
            (Some(vec![listed(Some(&["n"]), false)]), false, false),
            (Some(vec![listed(Some(&["n"]), false), listed(Some(&["m:latest"]), false)]), true, true),
        ] {
            let fleet = fleet(backends);
            assert_eq!((fleet.lists_elsewhere("m"), fleet.may_be_elsewhere("m")), (lists, may_have), "{fleet:?}");
        }
    }
}
