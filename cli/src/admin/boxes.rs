use clap::Args;
use foreman_client::BoxInfo;

use super::{AdminConnection, table};
use crate::exit::Failure;
use crate::{escape, option_names, output};

/// List the daemons that share the queue of the daemon, or the daemon itself
///
/// With several --url, only the first daemon that responds is asked. The errors of those before it are printed to stderr, and do not change
/// the exit status.
///
/// A star marks the models that are loaded, if their server reports it. Any token of the daemon will do.
#[derive(Args)]
pub(crate) struct Boxes {
    #[command(flatten)]
    connection: AdminConnection,
    /// Print each box as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Boxes {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (_, boxes) = self.connection.boxes().await?;
        if self.json {
            return boxes.iter().try_for_each(output::json);
        }
        table::print(&boxes)?;
        differences(&boxes).iter().for_each(|line| output::note(line));
        Ok(())
    }
}

/// One line for each daemon with other options than the one that has responded.
fn differences(boxes: &[BoxInfo]) -> Vec<String> {
    // Names need not be unique.
    let name = |one: &BoxInfo| format!("{} ({})", one.name, one.id);
    let this = boxes.iter().find(|one| one.answering).map_or_else(|| "the one that answers".to_owned(), name);
    let others = boxes.iter().filter(|one| !one.different_options.is_empty());
    let line = |one: &BoxInfo| {
        let options: Vec<_> = one.different_options.iter().map(|option| option_names::name(option)).collect();
        escape::single_line(&format!("foreman: {} has other values than {this} of: {}", name(one), options.join(", ")))
    };
    others.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_options_are_named_as_flags() {
        let mut boxes = ["left", "right", "other"].map(|id| BoxInfo::new(id, "gpu"));
        boxes[1].answering = true;
        boxes[2].different_options = ["max_queue", "token", "new"].map(str::to_owned).to_vec();
        let expected = "foreman: gpu (other) has other values than gpu (right) of: --max-queue, token, new";
        assert_eq!(differences(&boxes), [expected]);
    }
}
