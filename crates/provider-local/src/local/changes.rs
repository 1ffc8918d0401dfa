//! Every change of what is wanted: checked, on disk, then told. On blocking threads only.

use crate::admit::{self, Admitted};
use crate::data::Data;
use crate::desired::{Desired, Entry, Files, Standing, Version};
use crate::images::Images;
use crate::isolation::Isolation;
use crate::logs::Logs;
use crate::namespaces::Namespaces;
use crate::readiness::Probes;
use crate::secrets::Secrets;
use crate::state::State;
use daemon::Clock;
use provider::{Deployed, ProviderError, Result, check};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::function::{FunctionDeployment, TextMap};
use wire::namespace::Namespace;
use wire::{FunctionName, annotation, label};

/// What is on disk, and the state that follows it.
pub(super) struct Changes {
    /// Held during a change, disk and all: what one change has checked stays true until it is done.
    one_at_a_time: Mutex<()>,
    /// Taken after that, by a function's name.
    file_locks: [Mutex<()>; 32],
    files: Files,
    pub(super) namespaces: Namespaces,
    secrets: Arc<Secrets>,
    data: Data,
    pub(super) logs: Arc<Logs>,
    images: Images,
    pub(super) isolation: Arc<Isolation>,
    clock: Arc<dyn Clock>,
    pub(super) state: Arc<State>,
}

impl Changes {
    #[expect(clippy::too_many_arguments, reason = "the parts are its fields")]
    pub(super) fn new(
        files: Files,
        namespaces: Namespaces,
        secrets: Arc<Secrets>,
        data: Data,
        logs: Arc<Logs>,
        images: Images,
        isolation: Arc<Isolation>,
        clock: Arc<dyn Clock>,
        state: Arc<State>,
    ) -> Self {
        let (one_at_a_time, file_locks) = Default::default();
        Self { one_at_a_time, file_locks, files, namespaces, secrets, data, logs, images, isolation, clock, state }
    }

    pub(super) fn find(&self, name: &FunctionName) -> Result<Entry> {
        self.state.get(name).ok_or_else(|| ProviderError::NoFunction(name.clone()))
    }

    pub(super) fn deploy(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.prepare(&deployment)?;
        let _turn = self.turn();
        let admitted = self.admit(deployment)?;
        if self.state.get(&admitted.checked.name).is_some() {
            return Err(ProviderError::Exists(format!("function {}", admitted.checked.name)));
        }
        let created_at = format!("{:.0}", self.clock.now());
        let replicas = admitted.checked.at_least;
        self.take(admitted, created_at, replicas, None)
    }

    pub(super) fn update(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.prepare(&deployment)?;
        let _turn = self.turn();
        // A name that is none is refused before it is looked for.
        let name = check::deployment(&deployment).map(|checked| checked.name);
        if let Ok(name) = &name {
            self.namespaces.find(name.namespace())?;
            self.find(name)?;
        }
        let admitted = self.admit(deployment)?;
        match self.find(&admitted.checked.name)? {
            Entry::Known(before) => {
                let is_same = before.deployment == admitted.deployment && before.digest == admitted.image.digest;
                if is_same && !self.has_failed(&admitted.checked.name, &before) {
                    return Ok(Deployed::Unchanged);
                }
                let replicas = replicas_after(&before, &admitted)?;
                self.take(admitted, before.created_at.clone(), replicas, before.worked())
            }
            Entry::Unreadable(_) => {
                self.files
                    .keep_aside(&admitted.checked.name)
                    .map_err(|error| ProviderError::failed("keep the unreadable desired state aside", error))?;
                let (created_at, replicas) = (format!("{:.0}", self.clock.now()), admitted.checked.at_least);
                self.take(admitted, created_at, replicas, None)
            }
        }
    }

    /// The wish is heard at once, while it is being written: a call may be waiting for the replica.
    pub(super) fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        let before = {
            let _turn = self.turn();
            let Entry::Known(before) = self.find(name)? else { return Err(unreadable(name)) };
            check::replicas(&before.to_run().deployment, replicas)?;
            if before.replicas == replicas {
                return Ok(());
            }
            self.state.change(name, |desired| Some(Desired { replicas, ..desired.clone() }));
            before.replicas
        };
        let saved = self.save(name);
        if saved.is_err() {
            self.state.change(name, |desired| {
                (desired.replicas == replicas).then(|| Desired { replicas: before, ..desired.clone() })
            });
        }
        saved
    }

    pub(super) fn delete(&self, name: &FunctionName, purge: bool) -> Result<()> {
        let turn = self.turn();
        drop(self.find(name)?);
        let failed = |what: &str, error: io::Error| ProviderError::failed(format!("{what} of {name}"), error);
        // First: whatever ends this halfway, no later function of that name finds the data.
        let aside = if purge { self.data.set_aside(name) } else { Ok(None) };
        let aside = aside.map_err(|error| failed("delete the data", error))?;
        {
            let _file = self.file(name);
            self.files.remove(name).map_err(|error| failed("delete the desired state", error))?;
            self.state.remove(name);
        }
        let removed = self.logs.remove(name).map_err(|error| failed("delete the log", error));
        // It may be much, and others have changes to make.
        drop(turn);
        if let Some(aside) = aside {
            self.data.purge(name, &aside);
        }
        removed?;
        tracing::info!(function = %name, purge, "Function deleted");
        Ok(())
    }

    /// Puts a wish on disk that has been changed in memory first; nothing when it is gone.
    pub(super) fn save(&self, name: &FunctionName) -> Result<()> {
        let _file = self.file(name);
        match self.state.get(name) {
            Some(Entry::Known(desired)) => self.write(name, &desired),
            Some(Entry::Unreadable(_)) | None => Ok(()),
        }
    }

    pub(super) fn create_namespace(&self, namespace: Namespace) -> Result<()> {
        let _turn = self.turn();
        self.namespaces.create(namespace)
    }

    pub(super) fn update_namespace(&self, namespace: Namespace) -> Result<()> {
        let _turn = self.turn();
        self.namespaces.update(namespace)
    }

    pub(super) fn delete_namespace(&self, name: &str) -> Result<()> {
        let _turn = self.turn();
        self.namespaces.find(name)?;
        let functions = self.state.functions();
        if let Some(function) = functions.keys().find(|function| function.namespace() == name) {
            return Err(ProviderError::Conflict(format!(
                "namespace {name} still has functions, {} among them: delete them first",
                function.name()
            )));
        }
        self.namespaces.delete(name)?;
        self.secrets.delete_all(name)
    }

    pub(super) fn list_secrets(&self, namespace: &str) -> Result<Vec<String>> {
        self.namespaces.find(namespace)?;
        self.secrets.list(namespace)
    }

    pub(super) fn create_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        let _turn = self.turn();
        self.check_secret(namespace, name)?;
        self.secrets.create(namespace, name, value)
    }

    pub(super) fn update_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        let _turn = self.turn();
        self.check_secret(namespace, name)?;
        self.secrets.update(namespace, name, value)
    }

    pub(super) fn delete_secret(&self, namespace: &str, name: &str) -> Result<()> {
        let _turn = self.turn();
        self.check_secret(namespace, name)?;
        let mounts = |(function, entry): (&FunctionName, &Entry)| match entry {
            Entry::Known(desired) => {
                function.namespace() == namespace && desired.deployment.secrets.iter().any(|mounted| mounted == name)
            }
            Entry::Unreadable(_) => false,
        };
        if let Some((function, _)) = self.state.functions().iter().find(|&entry| mounts(entry)) {
            return Err(ProviderError::Conflict(format!(
                "secret {name} is mounted by function {function}: deploy that without it, or delete it, first"
            )));
        }
        self.secrets.delete(namespace, name)
    }

    fn check_secret(&self, namespace: &str, name: &str) -> Result<()> {
        check::secret(name)?;
        self.namespaces.find(namespace)
    }

    /// Unpacks a deployment's image, which may take a while, before the deployment's turn. What else is wrong with it is
    /// found then.
    fn prepare(&self, deployment: &FunctionDeployment) -> Result<()> {
        let is_named = FunctionName::new(&deployment.service, &deployment.namespace).is_ok();
        let Ok(reference) = deployment.image.parse() else { return Ok(()) };
        if !is_named || self.images.find(&reference).is_err() {
            return Ok(());
        }
        self.images.prepare(&reference, None, self.clock.now().into())
    }

    /// Whether a version has been taken back or is in trouble: deploying it again is another try.
    fn has_failed(&self, name: &FunctionName, desired: &Desired) -> bool {
        match desired.standing {
            Standing::Proven => false,
            Standing::New => desired.before.is_some() && self.state.seen(name).trouble.is_some(),
            Standing::TakenBack(_) => true,
        }
    }

    fn admit(&self, mut deployment: FunctionDeployment) -> Result<Admitted> {
        // It is ours to say: who deploys what another one was described with does not mean it.
        for said in [annotation::STATUS, annotation::ISOLATION_GIVEN] {
            deployment.annotations.remove(said);
        }
        Probes::of(&deployment.annotations).map_err(ProviderError::Invalid)?;
        admit::admit(deployment, &self.namespaces, &self.secrets, &self.images, &self.isolation)
    }

    /// Makes an admitted deployment the wish.
    fn take(&self, admitted: Admitted, created_at: String, replicas: u32, before: Option<Version>) -> Result<Deployed> {
        let Admitted { checked, deployment, image } = admitted;
        let desired = Desired::new(deployment, image.digest, created_at, self.state.next_generation());
        let not_enforced = admit::not_enforced(&desired.deployment, &self.isolation, &self.data);
        self.keep(&checked.name, Desired { replicas, before, ..desired })?;
        tracing::info!(function = %checked.name, image = %checked.image, replicas, "Function deployed");
        if let Some(text) = not_enforced {
            tracing::warn!(function = %checked.name, text, "Part of a deployment has no effect");
            self.logs.of(&checked.name).note("", &text);
        }
        Ok(Deployed::Changed)
    }

    fn keep(&self, name: &FunctionName, desired: Desired) -> Result<()> {
        let _file = self.file(name);
        self.write(name, &desired)?;
        self.state.put(name, Arc::new(desired));
        Ok(())
    }

    fn write(&self, name: &FunctionName, desired: &Desired) -> Result<()> {
        let written = self.files.write(name, desired);
        written.map_err(|error| ProviderError::failed(format!("write the desired state of {name}"), error))
    }

    /// Held while a function's file is made to say what its wish says, so that the later of two writes the later wish.
    fn file(&self, name: &FunctionName) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let at = usize::try_from(hasher.finish()).unwrap_or_default() % self.file_locks.len();
        self.file_locks[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An update keeps the number of replicas, unless it changes the label that says how many there are at least.
fn replicas_after(before: &Desired, admitted: &Admitted) -> Result<u32> {
    let least = |labels: &TextMap| labels.get(label::SCALE_MIN).cloned();
    let changed = least(&before.deployment.labels) != least(&admitted.deployment.labels);
    let replicas = if changed { admitted.checked.at_least } else { before.replicas };
    // A function that gets a data directory now may have had several.
    Ok(if check::replicas(&admitted.deployment, replicas).is_ok() { replicas } else { replicas.min(1) })
}

fn unreadable(name: &FunctionName) -> ProviderError {
    ProviderError::Invalid(format!(
        "what is deployed of {name} cannot be read: deploy it again, or repair its file in the state directory"
    ))
}
