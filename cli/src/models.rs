use clap::Args;
use foreman_client::{ClientBuilder, ModelInfo};

use crate::connection::Connection;
use crate::exit::Failure;
use crate::{output, plain};

/// List the models that the daemon can run
#[derive(Args)]
pub(crate) struct Models {
    #[command(flatten)]
    connection: Connection,
    /// Print each model as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Models {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let connected = self.connection.or_embedded(ClientBuilder::polling).await?;
        let models = connected.client.models().await?;
        if self.json {
            return models.iter().try_for_each(output::json);
        }
        let rows: Vec<_> = models.iter().map(row).collect();
        output::table(["NAME", "BYTES", "MODIFIED"], &rows)
    }
}

fn row(model: &ModelInfo) -> [String; 3] {
    let modified = model.modified_at.map(|time| time.to_string()).unwrap_or_default();
    [plain::line(&model.name), model.size.to_string(), modified]
}
