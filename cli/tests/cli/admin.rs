//! `foreman admin`, and what other commands show of several daemons.

use serde_json::Value;

use crate::support::{TestDaemon, run};

#[tokio::test]
async fn boxes_are_a_table_or_json() {
    let daemon = TestDaemon::new(|builder| builder.token("user").admin_token("root")).await;
    assert_eq!(daemon.run(&["admin", "boxes"]).await.code, Some(3));
    let refused = daemon.run(&["admin", "boxes", "--admin-token", "user-2"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""), "{refused:?}");
    assert!(refused.stderr.starts_with("foreman: the admin token was refused: "), "{refused:?}");
    // The first that responds is asked.
    let away = ["--url", "http://127.0.0.1:1", "--url", &daemon.handle.url()];
    let outcome = daemon.run(&[&["admin", "boxes", "--token", "user"][..], &away].concat()).await;
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (Some(0), 2), "{outcome:?}");
    assert!(outcome.stderr.starts_with("foreman: GET http://127.0.0.1:1/api/boxes: cannot connect"), "{outcome:?}");
    for token in [["--token", "user"], ["--admin-token", "root"]] {
        let table = daemon.run(&[&["admin", "boxes"][..], &token].concat()).await;
        let lines: Vec<Vec<_>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["ID", "NAME", "STATE", "RUNNING", "LEASE", "STARTED", "ANSWERS", "MODELS"]);
        let name = daemon.handle.local_addr().to_string();
        assert_eq!((lines.len(), &lines[1][1..4]), (2, &[&*name, "active", "0"][..]), "{table:?}");
        let json = daemon.run(&[&["admin", "boxes", "--json"][..], &token].concat()).await.stdout;
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["name"], *name);
    }
}

#[tokio::test]
async fn box_is_drained_by_name_or_id_with_the_admin_token() {
    let daemon = TestDaemon::new(|builder| builder.token("user").admin_token("root")).await;
    let name = daemon.handle.local_addr().to_string();
    let admin = async |args: &[&str], variable: &str, token: &str| {
        let mut command = daemon.foreman(&[&["admin"], args].concat());
        command.env(variable, token);
        run(command).await
    };
    let refused = admin(&["drain", &name], "FOREMAN_TOKEN", "user").await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""), "{refused:?}");
    assert!(refused.stderr.contains("needs the admin token"), "{refused:?}");
    let drained = admin(&["drain", "--json", &name], "FOREMAN_ADMIN_TOKEN", "root").await;
    let drained: Value = serde_json::from_str(&drained.stdout).unwrap_or_else(|_| panic!("{drained:?}"));
    assert_eq!(drained["draining"], true);
    let id = &drained["id"].as_str().unwrap()[..8];
    let undrained = admin(&["undrain", id], "FOREMAN_ADMIN_TOKEN", "root").await;
    assert_eq!(undrained.code, Some(0), "{undrained:?}");
    assert!(undrained.stdout.lines().nth(1).unwrap().contains("  active  "), "{undrained:?}");
    let unknown = admin(&["drain", "gpu"], "FOREMAN_ADMIN_TOKEN", "root").await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(2), ""), "{unknown:?}");
    assert!(unknown.stderr.starts_with(&format!("foreman: no box gpu; there is {name} (")), "{unknown:?}");
}

#[cfg(all(unix, feature = "postgres"))]
#[tokio::test]
async fn models_and_jobs_show_their_boxes() {
    use crate::support::Gate;

    let Some(server) = super::postgres_server::server() else { return };
    let (url, gate) = (server.schema(), Gate::closed());
    let start = async |name: &str, gate: &Gate| {
        TestDaemon::new(|builder| builder.postgres(&url).name(name).backend(gate.backend())).await
    };
    let left = start("left", &gate).await;
    let job = left.submit("m").await.to_string();
    let running = async {
        loop {
            let jobs = left.run(&["jobs"]).await.stdout;
            if jobs.contains(" running ") {
                return jobs;
            }
        }
    };
    let jobs = tokio::time::timeout(std::time::Duration::from_secs(60), running).await.unwrap();
    let lines: Vec<Vec<_>> = jobs.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "STATE", "POSITION", "BOX", "MODEL", "CREATED", "ERROR"]);
    assert_eq!(lines[1][..4], [&*job, "running", "left", "m"]);
    let status = left.run(&["status", &job]).await.stdout;
    assert!(status.contains("\nbox        left\n"), "{status}");
    let right =
        TestDaemon::new(|builder| builder.postgres(&url).name("right").backend(foreman_daemon::Echo::new())).await;
    let models = async {
        loop {
            let models = left.run(&["models"]).await.stdout;
            if models.contains("right") {
                return models;
            }
        }
    };
    let models = tokio::time::timeout(std::time::Duration::from_secs(60), models).await.unwrap();
    let lines: Vec<Vec<_>> = models.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["NAME", "BYTES", "MODIFIED", "BOXES", "BACKENDS"], vec!["echo", "right", "right/default"]]);
    // Through the other daemon, which sets the flag in the database.
    let drained = right.run(&["admin", "drain", "left"]).await;
    assert!(drained.code == Some(0) && drained.stdout.contains(" draining  1  "), "{drained:?}");
    let same = right.run(&["admin", "boxes"]).await.stdout;
    assert!(same.lines().any(|line| line.contains(" right ") && line.contains(" active ")), "{same}");
    gate.open();
    assert_eq!(right.run(&["wait", &job]).await.code, Some(0));
}
