use clap::Args;
use foreman_client::{ClientBuilder, JobId};

use crate::connection::ConnectionArgs;
use crate::exit::Failure;
use crate::status;

/// Cancel a queued or running job and print its status; its state becomes failed
#[derive(Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Print the job as one line of JSON
    #[arg(long)]
    json: bool,
    /// The job's id
    id: JobId,
}

impl Cancel {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.connect(ClientBuilder::polling).await?;
        status::print(&client.cancel(&self.id).await.map_err(Failure::of_job)?, self.json)
    }
}
