use clap::Args;
use foreman_client::{ClientBuilder, JobId};

use crate::connection::Connection;
use crate::exit::Failure;
use crate::status;

/// Cancel a job, which then ends as failed, and print where it is
#[derive(Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    connection: Connection,
    /// Print the job as one line of JSON
    #[arg(long)]
    json: bool,
    /// The job
    id: JobId,
}

impl Cancel {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.named(ClientBuilder::polling).await?;
        status::tell(&client.cancel(&self.id).await?, self.json)
    }
}
