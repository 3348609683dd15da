//! Saves artifacts, whose names come from the daemon and are not to be trusted.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::{Artifact, JobResult, SaveArtifactError};
use crate::job::save_error::Reason;

/// An artifact in a file; made by [`save_artifact`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedArtifact {
    /// The path of the file: the directory, and the name of the artifact below it.
    pub path: PathBuf,
    /// Whether the file existed before, with the same content.
    pub existed: bool,
}

#[cfg_attr(docsrs, doc(cfg(feature = "artifact-files")))]
impl JobResult {
    /// Saves every artifact below `directory`, which is created if it does not exist. Returns one result for each artifact, in their
    /// order: a failure does not prevent the others from being saved. See [`save_artifact`] for the rules.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), foreman_client::BoxError> {
    /// # use foreman_client::{Artifact, JobId, JobResult, JobState, JobStatus};
    /// # let mut status = JobStatus::new(JobId::new("7")?, JobState::Done);
    /// # status.artifacts = vec![Artifact::new("a.txt", "text/plain", b"hi")];
    /// # let result = JobResult::new(status).unwrap();
    /// # let temporary = tempfile::tempdir()?;
    /// # let directory = temporary.path().join("artifacts");
    /// // Files block, so not on a task of the runtime.
    /// let saving = move || result.save_artifacts(&directory);
    /// for saved in tokio::task::spawn_blocking(saving).await? {
    ///     println!("saved {}", saved?.path.display());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Blocking
    ///
    /// It writes files and blocks meanwhile. In async code, call it in [`spawn_blocking`](tokio::task::spawn_blocking).
    #[must_use = "an artifact may not be saved"]
    pub fn save_artifacts(&self, directory: impl AsRef<Path>) -> Vec<Result<SavedArtifact, SaveArtifactError>> {
        let directory = directory.as_ref();
        self.artifacts().iter().map(|artifact| save_artifact(artifact, directory)).collect()
    }
}

/// Saves an artifact below `directory`, which is created if it does not exist.
///
/// The [name](Artifact::name) comes from the daemon and is not trusted:
///
/// - It must be a relative path that stays below `directory` on every system. A root, `..`, a backslash, a colon, a control character, a
///   part that ends with a dot or a space, and a name of a device of Windows (`NUL`, `com1.txt`) are refused. `a/b.txt` is saved in the
///   subdirectory `a`, which is created.
/// - Symbolic links below `directory` are not followed. `directory` itself may be one.
/// - A file that exists is not overwritten. If it has the same content, the artifact counts as saved.
///
/// The file gets its name when it is complete. Only on a file system without hard links is it written under its name; it is removed if
/// that fails.
///
/// # Errors
///
/// [`SaveArtifactError`], with the name of the artifact. An artifact of which the daemon sent only the [`url`](Artifact::url) is an
/// error: this function fetches nothing.
///
/// # Blocking
///
/// It writes files and blocks meanwhile. In async code, call it in [`spawn_blocking`](tokio::task::spawn_blocking).
///
/// # Security
///
/// Every path is opened relative to `directory` (crate `cap-std`), so that somebody else who can write to it cannot lead the
/// artifact out of it by a link. They can replace what was saved, as in every directory.
pub fn save_artifact(artifact: &Artifact, directory: impl AsRef<Path>) -> Result<SavedArtifact, SaveArtifactError> {
    save(artifact, directory.as_ref()).map_err(|reason| SaveArtifactError::new(artifact, reason))
}

fn save(artifact: &Artifact, directory: &Path) -> Result<SavedArtifact, Reason> {
    let name = relative_path(&artifact.name).ok_or(Reason::Name)?;
    let data = artifact.data().map_err(Reason::Data)?;
    let data = data.ok_or_else(|| Reason::NoData { url: artifact.url.clone() })?;
    fs::create_dir_all(directory).map_err(|error| Reason::io(directory, error))?;
    let root = Dir::open_ambient_dir(directory, ambient_authority()).map_err(|error| Reason::io(directory, error))?;
    let parent = create_parents(root, directory, &name)?;
    let file = name.file_name().ok_or(Reason::Name)?;
    let path = directory.join(&name);
    match write_new(&parent, file, &data) {
        Ok(()) => Ok(SavedArtifact { path, existed: false }),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Reason::io(&path, error)),
        Err(_) if has_content(&parent, file, &data) => Ok(SavedArtifact { path, existed: true }),
        Err(_) => Err(Reason::Exists(path)),
    }
}

/// Creates the subdirectories of `root` that `name` has, and opens the last. Symbolic links among them are refused: they may point
/// outside of it. Each is opened relative to the one before, so that none can be replaced by a link meanwhile.
fn create_parents(root: Dir, directory: &Path, name: &Path) -> Result<Dir, Reason> {
    let (mut parent, mut path) = (root, directory.to_owned());
    for part in name.parent().into_iter().flatten() {
        path.push(part);
        match parent.create_dir(part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(|error| Reason::io(&path, error))?,
        }
        if !parent.symlink_metadata(part).map_err(|error| Reason::io(&path, error))?.is_dir() {
            return Err(Reason::NotADirectory(path));
        }
        parent = parent.open_dir_nofollow(part).map_err(|error| Reason::io(&path, error))?;
    }
    Ok(parent)
}

/// Whether there is a regular file with this content. Other files, such as pipes, are not read: they may never end.
fn has_content(parent: &Dir, name: &OsStr, data: &[u8]) -> bool {
    let is_file = || Some(parent.symlink_metadata(name).ok()?.is_file());
    let read = || {
        let file = parent.open_with(name, OpenOptions::new().read(true).follow(FollowSymlinks::No)).ok()?;
        let mut content = Vec::new();
        // One byte more shows that it is longer.
        file.take(data.len() as u64 + 1).read_to_end(&mut content).ok()?;
        Some(content == data)
    };
    is_file() == Some(true) && read() == Some(true)
}

/// Writes a file under another name, and then gives it its name, which must not exist.
fn write_new(parent: &Dir, name: &OsStr, data: &[u8]) -> io::Result<()> {
    if parent.symlink_metadata(name).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let partial = format!(".foreman-{:016x}", fastrand::u64(..));
    write_in_place(parent, OsStr::new(&partial), data)?;
    // Unlike a rename, it never replaces a file.
    let linked = parent.hard_link(&partial, parent, name);
    _ = parent.remove_file(&partial);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => write_in_place(parent, name, data),
        linked => linked,
    }
}

/// Creates a file. If writing fails, the file is removed.
fn write_in_place(parent: &Dir, name: &OsStr, data: &[u8]) -> io::Result<()> {
    let mut file = parent.open_with(name, OpenOptions::new().write(true).create_new(true))?;
    let written = file.write_all(data);
    if written.is_err() {
        _ = parent.remove_file(name);
    }
    written
}

/// The name as a relative path that stays inside its directory, on every system.
fn relative_path(name: &str) -> Option<PathBuf> {
    if name.contains(['\\', ':']) || name.contains(char::is_control) || name.ends_with('/') {
        return None;
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) if part.to_str().is_some_and(is_portable) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

/// Windows ignores dots and spaces at the end of a name, and opens a device for these names, whatever their extension.
fn is_portable(part: &str) -> bool {
    const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

    let stem = part.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let numbered = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let is_port = numbered.is_some_and(|number| {
        let mut characters = number.chars();
        matches!((characters.next(), characters.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    });
    !part.ends_with(['.', ' ']) && !is_port && !DEVICES.contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, data: &str) -> Artifact {
        Artifact::new(name, "text/plain", data.as_bytes())
    }

    #[test]
    fn names_outside_the_directory_are_refused() {
        for (name, path) in
            [("a.png", "a.png"), ("./a", "a"), ("a/./b", "a/b"), ("..a", "..a"), ("common.txt", "common.txt")]
        {
            assert_eq!(relative_path(name).as_deref(), Some(Path::new(path)), "{name}");
        }
        for name in ["", ".", "..", "../a", "a/../../b", "/a", "a/..", r"..\a", r"C:\a", "C:a", "a\0", "a\nb", "a/"] {
            assert_eq!(relative_path(name), None, "{name:?}");
        }
    }

    #[test]
    fn names_that_another_system_reads_differently_are_refused() {
        for name in ["nul", "NUL.txt", "a/Aux", "com1", "LPT³.log", "con .txt", "a.", ".. /a", "a ", ".../a", "CONIN$"]
        {
            assert_eq!(relative_path(name), None, "{name:?}");
        }
        for name in ["com", "com10", "nully", "contents", "lpt", "a.nul"] {
            assert!(relative_path(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn existing_files_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("new");
        for existed in [false, true] {
            for (name, data) in [("a", "one"), ("d/b", "two")] {
                let saved = save_artifact(&text(name, data), &target).unwrap();
                assert_eq!(saved, SavedArtifact { path: target.join(name), existed });
            }
        }
        let error = save_artifact(&text("a", "other"), &target).unwrap_err();
        assert!(error.is_exists() && !error.is_invalid_name());
        assert!(error.to_string().ends_with("exists with different content"), "{error}");
        assert!(save_artifact(&text("../c", "out"), &target).unwrap_err().is_invalid_name());
        let read = |name| fs::read_to_string(target.join(name)).unwrap();
        assert_eq!((read("a"), read("d/b")), ("one".into(), "two".into()));
        assert!(!directory.path().join("c").exists());
        assert_eq!(fs::read_dir(&target).unwrap().count(), 2, "nothing partial is left");
    }

    #[test]
    fn failures_do_not_prevent_other_saves() {
        let directory = tempfile::tempdir().unwrap();
        let mut status: crate::JobStatus = serde_json::from_str(r#"{"job_id":"7","state":"done"}"#).unwrap();
        let long = "x".repeat(300);
        let remote = r#"{"name":"remote","size":1,"url":"http://h/remote"}"#;
        let damaged = r#"{"name":"damaged","size":1,"data":"*"}"#;
        status.artifacts = [long.as_str(), "a", "a/below", "a", "b"].map(|name| text(name, "data")).into();
        status.artifacts.extend([remote, damaged].map(|json| serde_json::from_str::<Artifact>(json).unwrap()));
        let saved = JobResult::new(status).unwrap().save_artifacts(directory.path());
        let outcomes: Vec<_> = saved.iter().map(|saved| saved.as_ref().map(|saved| saved.existed).ok()).collect();
        assert_eq!(outcomes, [None, Some(false), None, Some(true), Some(false), None, None]);
        let errors: Vec<_> = saved.into_iter().filter_map(Result::err).collect();
        assert!(errors[0].path().is_some() && std::error::Error::source(&errors[0]).is_some());
        assert!(errors[2].is_without_data() && errors[2].to_string().contains("http://h/remote"), "{}", errors[2]);
        assert!(errors[3].is_damaged() && errors[3].artifact() == "damaged");
        assert_eq!(fs::read_to_string(directory.path().join("b")).unwrap(), "data");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_are_not_followed() {
        use std::os::unix::fs::symlink;

        let directory = tempfile::tempdir().unwrap();
        let (target, outside) = (directory.path().join("target"), directory.path().join("outside"));
        fs::create_dir_all(&target).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, target.join("link")).unwrap();
        symlink(outside.join("new"), target.join("dangling")).unwrap();
        symlink("/dev/zero", target.join("endless")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(target.join("pipe")).status().unwrap().success());
        for name in ["link/a", "link/a/b", "link", "dangling", "endless", "pipe"] {
            let error = save_artifact(&text(name, ""), &target).unwrap_err();
            assert!(error.path().is_some(), "{name}: {error}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        // The directory itself may be a link: the caller chose it.
        save_artifact(&text("d/a", "data"), target.join("link")).unwrap();
        assert_eq!(fs::read_to_string(outside.join("d/a")).unwrap(), "data");
    }
}
