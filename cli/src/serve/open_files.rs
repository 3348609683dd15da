//! The limit of open files, which connections, backends and webhooks share.

/// The number of files that are free for the rest: the store, the log, resolvers, idle connections to backends and receivers.
const RESERVE: usize = 64;

/// Raises the soft limit of open files to the hard one, and returns the number of connections that leaves enough files for jobs and
/// webhooks: at most `wanted`.
pub(super) fn max_connections(wanted: usize, workers: usize, webhooks: usize) -> usize {
    let open_files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            return wanted;
        }
    };
    let max_connections = limited(wanted, open_files, workers, webhooks);
    if max_connections < wanted {
        tracing::warn!(open_files, max_connections, "the limit of open files reduces the number of connections");
    } else {
        tracing::info!(open_files, max_connections, "limits set");
    }
    max_connections
}

fn limited(wanted: usize, open_files: usize, workers: usize, webhooks: usize) -> usize {
    let reserved = RESERVE.saturating_add(workers).saturating_add(webhooks);
    wanted.min(open_files.saturating_sub(reserved).max(1))
}

#[cfg(test)]
mod tests {
    use super::limited;

    #[test]
    fn connections_leave_files_for_jobs_and_webhooks() {
        for (wanted, open_files, workers, webhooks, expected) in [
            (1024, 1_048_576, 1, 16, 1024),
            (1024, 1024 + 81, 1, 16, 1024),
            (1024, 1024, 1, 16, 943),
            (1024, 1024, 4, 16, 940),
            (10, 1024, 1, 16, 10),
            (1024, 64, 1, 16, 1),
            (1024, 1024, usize::MAX, usize::MAX, 1),
            (usize::MAX, usize::MAX, 1, 16, usize::MAX - 81),
            // The builder rejects it.
            (0, 1024, 1, 16, 0),
        ] {
            assert_eq!(limited(wanted, open_files, workers, webhooks), expected, "{wanted} {open_files} {workers}");
        }
    }
}
