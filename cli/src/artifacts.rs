use std::fs;
use std::io;
use std::path::Path;

use foreman_client::JobResult;
use foreman_client::job::{SaveArtifactError, SavedArtifact};

use crate::exit::{Failure, chain, first_failure};
use crate::output;

/// Creates the directory for artifacts if it does not exist.
pub(crate) fn create_directory(directory: &Path) -> Result<(), Failure> {
    let error = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
    fs::create_dir_all(directory).map_err(|cause| Failure::Io(error(cause)))
}

/// Saves the artifacts of a job in a directory. A failure does not prevent the rest from being saved; the first one is
/// returned, and the others are reported.
pub(crate) fn save(result: &JobResult, directory: &Path) -> Result<(), Failure> {
    create_directory(directory)?;
    first_failure(result.save_artifacts(directory).into_iter().map(report))
}

fn report(saved: Result<SavedArtifact, SaveArtifactError>) -> Result<(), Failure> {
    let saved = saved.map_err(|error| failure(&error))?;
    // An earlier command has saved the same artifact.
    if !saved.existed {
        output::note(&format!("foreman: saved {}", saved.path.display()));
    }
    Ok(())
}

/// The daemon's response is at fault, or the file system is.
fn failure(error: &SaveArtifactError) -> Failure {
    match error.path() {
        None => Failure::Response(chain(error)),
        Some(_) => Failure::Io(io::Error::other(chain(error))),
    }
}

#[cfg(test)]
mod tests {
    use foreman_client::{Artifact, JobId, JobState, JobStatus};

    use super::*;

    #[test]
    fn first_failure_is_returned() {
        let save_all = |names: &[&str], target: &Path| {
            let mut status = JobStatus::new(JobId::new("7").unwrap(), JobState::Done);
            status.artifacts = names.iter().map(|name| Artifact::new(*name, "text/plain", name.as_bytes())).collect();
            save(&JobResult::new(status).unwrap(), target)
        };
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mine"), "other").unwrap();
        let refused = save_all(&["a", "../b"], directory.path());
        assert!(matches!(&refused, Err(Failure::Response(message)) if message.contains("../b")), "{refused:?}");
        let kept = save_all(&["mine", "/b"], directory.path());
        assert!(
            matches!(&kept, Err(Failure::Io(error)) if error.to_string().contains("different content")),
            "{kept:?}"
        );
        assert_eq!(fs::read_to_string(directory.path().join("a")).unwrap(), "a");
        save_all(&["a"], directory.path()).unwrap();
    }
}
