//! Runs the commands in docs/http-api.md.

use std::process::Stdio;

use foreman_daemon::Daemon;
use serde_json::Value;

const DOCS: &str = include_str!("../../docs/http-api.md");
const MARK: &str = "-- the next command --";

/// Each command and the output block after it.
fn commands() -> Vec<(&'static str, &'static str)> {
    let blocks: Vec<&str> = DOCS.split("```").skip(1).step_by(2).collect();
    let pairs = blocks.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("sh\n")?, pair[1])));
    pairs.collect()
}

/// Asserts that the output has the keys of the documented output.
fn assert_has_keys(printed: &Value, documented: &Value) {
    let Value::Object(documented) = documented else { return };
    for (key, documented) in documented {
        let printed = printed.get(key).unwrap_or_else(|| panic!("no {key} in {printed}"));
        assert_has_keys(printed, documented);
    }
}

#[tokio::test]
async fn documented_commands_print_documented_output() {
    if std::process::Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "curl is not installed");
        eprintln!("skipped: curl is not installed");
        return;
    }
    let daemon = Daemon::builder().token("hush").start().await.unwrap();
    let commands = commands();
    assert_eq!(commands.len(), 10);
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
    for ((_, documented), printed) in commands.iter().zip(printed) {
        match documented.strip_prefix("json\n") {
            Some(documented) => {
                let documented = serde_json::from_str(documented).unwrap();
                let printed = serde_json::from_str(printed).unwrap_or_else(|_| panic!("{printed}"));
                assert_has_keys(&printed, &documented);
            }
            None => assert_eq!(printed, documented.strip_prefix("text\n").unwrap().trim()),
        }
    }
}
