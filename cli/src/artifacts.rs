use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use foreman_client::Artifact;

use crate::exit::{Failure, first_failure};
use crate::{escape, output};

/// Creates the directory for artifacts if it does not exist.
pub(crate) fn create_directory(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| file_error(directory, &error))
}

/// Saves the artifacts of a job in a directory. A failure does not prevent the rest from being saved; the first one is
/// returned, and the others are reported.
pub(crate) fn save(artifacts: &[Artifact], directory: &Path) -> Result<(), Failure> {
    create_directory(directory)?;
    first_failure(artifacts.iter().map(|artifact| save_one(artifact, directory)))
}

fn save_one(artifact: &Artifact, directory: &Path) -> Result<(), Failure> {
    let name = escape::single_line(&artifact.name);
    let Some(path) = relative_path(&artifact.name) else {
        return Err(Failure::Response(format!("artifact {name:?} not saved: the name is not a valid relative path")));
    };
    let Some(data) = artifact.data()? else {
        let reason = match &artifact.url {
            Some(url) => format!("the response has its URL only: {}", escape::single_line(url)),
            None => "the response has neither its data nor its URL".to_owned(),
        };
        return Err(Failure::Response(format!("artifact {name:?} not saved: {reason}")));
    };
    if let Some(parent) = path.parent() {
        create_parents(directory, parent)?;
    }
    let path = directory.join(path);
    match write_new(&path, &data) {
        Ok(()) => {
            output::note(&format!("foreman: saved {}", path.display()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // An earlier command has saved the same artifact.
            if has_content(&path, &data) {
                return Ok(());
            }
            let path = path.display();
            Err(Failure::Io(io::Error::other(format!("{path} exists with different content"))))
        }
        Err(error) => Err(file_error(&path, &error)),
    }
}

/// Creates the subdirectories `parents` of `directory`. Symbolic links among them are rejected: they may point outside of it.
fn create_parents(directory: &Path, parents: &Path) -> Result<(), Failure> {
    let mut path = directory.to_owned();
    for part in parents {
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(|error| file_error(&path, &error))?,
        }
        if !fs::symlink_metadata(&path).map_err(|error| file_error(&path, &error))?.is_dir() {
            let path = path.display();
            return Err(Failure::Io(io::Error::other(format!("{path} exists and is not a directory"))));
        }
    }
    Ok(())
}

/// Whether the path is a regular file with this content. Other files, such as pipes, are not read: they may never end.
fn has_content(path: &Path, data: &[u8]) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && usize::try_from(found.len()) == Ok(data.len()))
        && fs::read(path).is_ok_and(|content| content == data)
}

/// Creates a file. If writing fails, the file is removed.
fn write_new(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let written = file.write_all(data);
    if written.is_err() {
        _ = fs::remove_file(path);
    }
    written
}

/// The name as a relative path that stays inside its directory.
///
/// `None` for a name with a root, `..`, a backslash or colon (special on some systems) or control characters.
fn relative_path(name: &str) -> Option<PathBuf> {
    if name.contains(['\\', ':']) || name.contains(char::is_control) || name.ends_with('/') {
        return None;
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

fn file_error(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_directory_are_rejected() {
        for (name, path) in [("a.png", "a.png"), ("./a", "a"), ("a/./b", "a/b"), ("..a", "..a")] {
            assert_eq!(relative_path(name).as_deref(), Some(Path::new(path)), "{name}");
        }
        for name in ["", ".", "..", "../a", "a/../../b", "/a", "a/..", r"..\a", r"C:\a", "C:a", "a\0", "a\nb", "a/"] {
            assert_eq!(relative_path(name), None, "{name:?}");
        }
    }

    #[test]
    fn existing_files_are_kept_and_the_rest_is_saved() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("new");
        let first = [Artifact::new("a", "text/plain", b"one"), Artifact::new("d/b", "text/plain", b"two")];
        save(&first, &target).unwrap();
        save(&first, &target).unwrap();
        let second = [
            Artifact::new("a", "text/plain", b"other"),
            Artifact::new("../c", "text/plain", b"out"),
            Artifact::new("c", "text/plain", b"three"),
        ];
        assert!(
            matches!(save(&second, &target), Err(Failure::Io(error)) if error.to_string().contains("different content"))
        );
        let read = |name| fs::read_to_string(target.join(name)).unwrap();
        assert_eq!((read("a"), read("d/b"), read("c")), ("one".into(), "two".into(), "three".into()));
        assert!(!directory.path().join("c").exists());
    }

    #[test]
    fn invalid_file_names_do_not_prevent_other_saves() {
        let directory = tempfile::tempdir().unwrap();
        let long = "x".repeat(300);
        let names = [long.as_str(), "a", "a/below", "a", "b"].map(|name| Artifact::new(name, "text/plain", b"data"));
        assert!(matches!(save(&names, directory.path()), Err(Failure::Io(_))));
        assert_eq!(fs::read_to_string(directory.path().join("a")).unwrap(), "data");
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
            let artifact = Artifact::new(name, "text/plain", b"");
            assert!(matches!(save(&[artifact], &target), Err(Failure::Io(_))), "{name}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        // The directory itself may be a link: the user chose it.
        save(&[Artifact::new("d/a", "text/plain", b"data")], &target.join("link")).unwrap();
        assert_eq!(fs::read_to_string(outside.join("d/a")).unwrap(), "data");
    }
}
