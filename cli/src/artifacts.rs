use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use foreman_client::Artifact;

use crate::exit::Failure;
use crate::{output, plain};

/// Makes the directory that artifacts are written into, if it is not there.
pub(crate) fn prepare(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| of_a_file(directory, &error))
}

/// Writes the artifacts of a job into a directory. What can be saved is; the first thing that could not be is the failure.
pub(crate) fn save(artifacts: &[Artifact], directory: &Path) -> Result<(), Failure> {
    prepare(directory)?;
    let mut first = Ok(());
    for artifact in artifacts {
        let saved = one(artifact, directory);
        if let (Err(failure), Err(_)) = (&saved, &first) {
            failure.report();
        }
        first = first.and(saved);
    }
    first
}

fn one(artifact: &Artifact, directory: &Path) -> Result<(), Failure> {
    let name = plain::line(&artifact.name);
    let Some(inside) = inside(&artifact.name) else {
        return Err(Failure::Answer(format!("artifact {name:?} is not saved: its name is no path within a directory")));
    };
    let Some(data) = artifact.data()? else {
        let url = artifact.url.as_deref().map_or_else(|| "nowhere".to_owned(), plain::line);
        return Err(Failure::Answer(format!("artifact {name:?} is not saved: it is not in the answer, but at {url}")));
    };
    if let Some(parent) = inside.parent() {
        make(directory, parent)?;
    }
    let path = directory.join(inside);
    match written(&path, &data) {
        Ok(()) => {
            output::note(&format!("foreman: saved {}", path.display()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Saved before, it is as good as saved now.
            if holds(&path, &data) {
                return Ok(());
            }
            let path = path.display();
            Err(Failure::Io(io::Error::other(format!("{path} is not overwritten: it is there with other content"))))
        }
        Err(error) => Err(of_a_file(&path, &error)),
    }
}

/// Makes the directories below the one that was named. A link among them is not followed: it may lead out of it.
fn make(directory: &Path, below: &Path) -> Result<(), Failure> {
    let mut path = directory.to_owned();
    for part in below {
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(|error| of_a_file(&path, &error))?,
        }
        if !fs::symlink_metadata(&path).map_err(|error| of_a_file(&path, &error))?.is_dir() {
            let path = path.display();
            return Err(Failure::Io(io::Error::other(format!("{path} is there, and is no directory"))));
        }
    }
    Ok(())
}

/// Whether this is a file of just this content; what else may be there, such as a pipe, might never end.
fn holds(path: &Path, data: &[u8]) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_file() && usize::try_from(there.len()) == Ok(data.len()))
        && fs::read(path).is_ok_and(|there| there == data)
}

/// The whole file or none.
fn written(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let written = file.write_all(data);
    if written.is_err() {
        _ = fs::remove_file(path);
    }
    written
}

/// The name as a path that stays where it is put: no root, no `..`, no backslash or colon, which are more than letters on some
/// systems, and nothing invisible.
fn inside(name: &str) -> Option<PathBuf> {
    if name.contains(['\\', ':']) || name.contains(char::is_control) || name.ends_with('/') {
        return None;
    }
    let mut inside = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    (!inside.as_os_str().is_empty()).then_some(inside)
}

fn of_a_file(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for (name, path) in [("a.png", "a.png"), ("./a", "a"), ("a/./b", "a/b"), ("..a", "..a")] {
            assert_eq!(inside(name).as_deref(), Some(Path::new(path)), "{name}");
        }
        for name in ["", ".", "..", "../a", "a/../../b", "/a", "a/..", r"..\a", r"C:\a", "C:a", "a\0", "a\nb", "a/"] {
            assert_eq!(inside(name), None, "{name:?}");
        }
    }

    #[test]
    fn what_is_there_is_left_and_the_rest_is_saved() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new");
        let first = [Artifact::new("a", "text/plain", b"one"), Artifact::new("d/b", "text/plain", b"two")];
        save(&first, &place).unwrap();
        save(&first, &place).unwrap();
        let second = [
            Artifact::new("a", "text/plain", b"other"),
            Artifact::new("../c", "text/plain", b"out"),
            Artifact::new("c", "text/plain", b"three"),
        ];
        assert!(
            matches!(save(&second, &place), Err(Failure::Io(error)) if error.to_string().contains("not overwritten"))
        );
        let read = |name| fs::read_to_string(place.join(name)).unwrap();
        assert_eq!((read("a"), read("d/b"), read("c")), ("one".into(), "two".into(), "three".into()));
        assert!(!directory.path().join("c").exists());
    }

    #[test]
    fn names_that_cannot_be_files_do_not_keep_the_others_from_being_saved() {
        let directory = tempfile::tempdir().unwrap();
        let long = "x".repeat(300);
        let names = [long.as_str(), "a", "a/below", "a", "b"].map(|name| Artifact::new(name, "text/plain", b"data"));
        assert!(matches!(save(&names, directory.path()), Err(Failure::Io(_))));
        assert_eq!(fs::read_to_string(directory.path().join("a")).unwrap(), "data");
        assert_eq!(fs::read_to_string(directory.path().join("b")).unwrap(), "data");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_in_the_directory_are_left_alone() {
        use std::os::unix::fs::symlink;

        let directory = tempfile::tempdir().unwrap();
        let (place, outside) = (directory.path().join("place"), directory.path().join("outside"));
        fs::create_dir_all(&place).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, place.join("link")).unwrap();
        symlink(outside.join("new"), place.join("dangling")).unwrap();
        symlink("/dev/zero", place.join("endless")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(place.join("pipe")).status().unwrap().success());
        for name in ["link/a", "link/a/b", "link", "dangling", "endless", "pipe"] {
            let artifact = Artifact::new(name, "text/plain", b"");
            assert!(matches!(save(&[artifact], &place), Err(Failure::Io(_))), "{name}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        // The directory itself may be a link: it is what was asked for.
        save(&[Artifact::new("d/a", "text/plain", b"data")], &place.join("link")).unwrap();
        assert_eq!(fs::read_to_string(outside.join("d/a")).unwrap(), "data");
    }
}
