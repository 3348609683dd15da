use clap::Args;
use foreman_client::{ClientBuilder, ModelInfo};

use crate::connection::{ConnectionArgs, EmbeddedArgs};
use crate::exit::Failure;
use crate::{escape, output};

/// List the models that the daemon can run
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
        let models = connection.client.models().await?;
        if self.json {
            return models.iter().try_for_each(output::json);
        }
        let rows: Vec<_> = models.iter().map(row).collect();
        // Only a daemon with several backends names them.
        if models.iter().all(|model| model.backends.is_empty()) {
            let rows: Vec<_> = rows.into_iter().map(|[name, bytes, modified, _]| [name, bytes, modified]).collect();
            return output::table(["NAME", "BYTES", "MODIFIED"], &rows);
        }
        output::table(["NAME", "BYTES", "MODIFIED", "BACKENDS"], &rows)
    }
}

fn row(model: &ModelInfo) -> [String; 4] {
    let modified = model.modified_at.map(|time| time.to_string()).unwrap_or_default();
    let backends = escape::single_line(&model.backends.join(","));
    // Not every server says how large a model is.
    let bytes = if model.size > 0 { model.size.to_string() } else { String::new() };
    [escape::single_line(&model.name), bytes, modified, backends]
}
