use clap::Args;
use foreman_client::{ClientBuilder, ModelInfo};

use crate::connection::{ConnectionArgs, EmbeddedArgs};
use crate::exit::Failure;
use crate::output::OfDaemon;
use crate::{escape, output};

/// List the models that the daemon can run, or all daemons that share its queue
///
/// With several --url, each model is listed once for each daemon that has it. If a daemon does not respond, its error is printed to
/// stderr, the models of the others are listed, and the exit status is 3.
///
/// LOADED names the backends that have the model in memory, if their servers report it.
///
/// With --embedded, lists those of an embedded daemon; see `foreman submit --help`.
#[derive(Args)]
pub(crate) struct Models {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    embedded: EmbeddedArgs,
    /// Print each model as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Models {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection.connect_or_embed(self.embedded, ClientBuilder::polling).await?;
        let daemons = &connection.daemons;
        let responses = daemons.ask(async |client| Ok(client.models().await?)).await?;
        let mut models = Vec::new();
        for (daemon, listed) in &responses.received {
            models.extend(listed.iter().map(|model| OfDaemon { daemon: daemon.as_deref(), value: model }));
        }
        if daemons.is_several() {
            models.sort_by(|one, other| one.value.name.cmp(&other.value.name));
        }
        if self.json {
            models.iter().try_for_each(output::json)?;
            return responses.complete();
        }
        let rows = models.iter().map(row).collect();
        // Only daemons that share a queue name the boxes, only a daemon with several backends names those, and not every model server
        // reports what it has loaded.
        output::table_with(
            &["NAME", "BYTES", "MODIFIED", "DAEMON", "BOXES", "BACKENDS", "LOADED"],
            &["DAEMON", "BOXES", "BACKENDS", "LOADED"],
            rows,
        )?;
        responses.complete()
    }
}

fn row(OfDaemon { daemon, value: model }: &OfDaemon<'_, ModelInfo>) -> Vec<String> {
    let modified = model.modified_at.map(|time| time.to_string()).unwrap_or_default();
    let (boxes, backends) = (model.boxes.join(","), model.backends.join(","));
    // Not every server says how large a model is.
    let bytes = if model.size > 0 { model.size.to_string() } else { String::new() };
    let daemon = daemon.unwrap_or_default().to_owned();
    vec![
        escape::single_line(&model.name),
        bytes,
        modified,
        daemon,
        escape::single_line(&boxes),
        escape::single_line(&backends),
        escape::single_line(&model.loaded.join(",")),
    ]
}
