use clap::Args;
use foreman_client::{ClientBuilder, ModelInfo};

use crate::connection::{ConnectionArgs, EmbeddedArgs};
use crate::exit::Failure;
use crate::output::OfDaemon;
use crate::{escape, output};

/// List the models that the daemon can run
///
/// With several --url, each model is listed once for each daemon that has it. If a daemon does not respond, its error is printed to
/// stderr, the models of the others are listed, and the exit status is 3.
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
        // Only a daemon with several backends names them.
        let backends = models.iter().any(|model| !model.value.backends.is_empty());
        let mut head = vec!["NAME", "BYTES", "MODIFIED"];
        head.extend(daemons.is_several().then_some("DAEMON"));
        head.extend(backends.then_some("BACKENDS"));
        let rows: Vec<_> = models.iter().map(|model| row(model, backends)).collect();
        output::table(&head, &rows)?;
        responses.complete()
    }
}

fn row(OfDaemon { daemon, value: model }: &OfDaemon<'_, ModelInfo>, backends: bool) -> Vec<String> {
    let modified = model.modified_at.map(|time| time.to_string()).unwrap_or_default();
    // Not every server says how large a model is.
    let bytes = if model.size > 0 { model.size.to_string() } else { String::new() };
    let mut row = vec![escape::single_line(&model.name), bytes, modified];
    row.extend(daemon.map(str::to_owned));
    row.extend(backends.then(|| escape::single_line(&model.backends.join(","))));
    row
}
