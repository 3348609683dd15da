//! The commands of docs/http-api.md, as they stand there.

use std::process::Stdio;

use foreman_daemon::Daemon;
use serde_json::Value;

const DOCS: &str = include_str!("../../docs/http-api.md");
const MARK: &str = "-- the next command --";

/// Each command with the block after it.
fn commands() -> Vec<(&'static str, &'static str)> {
    let blocks: Vec<&str> = DOCS.split("```").skip(1).step_by(2).collect();
    let pairs = blocks.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("sh\n")?, pair[1])));
    pairs.collect()
}

/// What is printed has the keys that are shown.
fn assert_has(printed: &Value, shown: &Value) {
    let Value::Object(shown) = shown else { return };
    for (key, shown) in shown {
        let printed = printed.get(key).unwrap_or_else(|| panic!("no {key} in {printed}"));
        assert_has(printed, shown);
    }
}

#[tokio::test]
async fn the_commands_of_the_docs_print_what_they_show() {
    if std::process::Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "curl is not installed");
        eprintln!("curl is not installed: the commands of docs/http-api.md were not run");
        return;
    }
    let daemon = Daemon::builder().token("hush").start().await.unwrap();
    let commands = commands();
    assert_eq!(commands.len(), 8);
    let script: String = commands.iter().map(|(command, _)| format!("{command}\necho; echo '{MARK}'\n")).collect();
    let output = tokio::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("FOREMAN_URL", daemon.url())
        .env("FOREMAN_TOKEN", "hush")
        .env("no_proxy", "*")
        .output()
        .await
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let printed: Vec<&str> = printed.split(MARK).map(str::trim).collect();
    assert_eq!(printed.len(), commands.len() + 1, "{printed:?}");
    for ((_, shown), printed) in commands.iter().zip(printed) {
        match shown.strip_prefix("json\n") {
            Some(shown) => {
                let shown = serde_json::from_str(shown).unwrap();
                let printed = serde_json::from_str(printed).unwrap_or_else(|_| panic!("{printed}"));
                assert_has(&printed, &shown);
            }
            None => assert_eq!(printed, shown.strip_prefix("text\n").unwrap().trim()),
        }
    }
}
