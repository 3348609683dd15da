use clap::Args;
use foreman_client::ClientBuilder;

use crate::connection::ConnectionArgs;
use crate::exit::Failure;
use crate::job_argument::JobArgument;
use crate::status;

/// Cancel a queued or running job and print its status; its state becomes failed
#[derive(Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Print the job as one line of JSON
    #[arg(long)]
    json: bool,
    /// The job's id, which is looked for at each daemon, or its URL, such as http://gpu-1:11435/jobs/7
    id: JobArgument,
}

impl Cancel {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let job = self.connection.connect(ClientBuilder::polling).await?.find(&self.id).await?;
        let status = job.client.cancel(&job.id).await.map_err(Failure::of_job)?;
        status::print(&status, job.daemon(), self.json)
    }
}
