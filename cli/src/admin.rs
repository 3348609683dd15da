//! `foreman admin`: the daemons that share a queue, for operators.

mod boxes;
mod drain;
mod find;
mod table;

use clap::{Args, Subcommand};
use foreman_client::{BoxInfo, Client, ClientBuilder};

use self::boxes::Boxes;
use self::drain::{Drain, Undrain};
use crate::connection::ConnectionArgs;
use crate::credentials::AdminTokenArgs;
use crate::exit::{Failure, chain};
use crate::output;

/// List and drain the daemons that share a queue; each of them is a box
#[derive(Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Subcommand)]
enum AdminCommand {
    Boxes(Boxes),
    Drain(Drain),
    Undrain(Undrain),
}

impl Admin {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            AdminCommand::Boxes(boxes) => boxes.run().await,
            AdminCommand::Drain(drain) => drain.run().await,
            AdminCommand::Undrain(undrain) => undrain.run().await,
        }
    }
}

/// Any daemon of those that share the queue, and the tokens for it.
#[derive(Args)]
struct AdminConnection {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    admin_token: AdminTokenArgs,
}

impl AdminConnection {
    /// The first daemon that responds, with the boxes that share its queue. It is asked with the admin token, or without one as by any other
    /// command.
    async fn boxes(self) -> Result<(Client, Vec<BoxInfo>), Failure> {
        let admin_token = self.admin_token.read()?;
        let is_admin = admin_token.is_some();
        let clients = self.connection.connect_to_each(admin_token, ClientBuilder::polling).await?;
        let last = clients.len() - 1;
        for (at, client) in clients.into_iter().enumerate() {
            match client.boxes().await {
                Ok(boxes) => return Ok((client, boxes)),
                Err(error) if at < last && !error.is_auth() => output::note(&format!("foreman: {}", chain(&error))),
                Err(error) if is_admin && error.is_auth() => {
                    return Err(Failure::Response(format!("the admin token was refused: {}", chain(&error))));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::Usage("no daemon URL; set --url or FOREMAN_URL".to_owned()))
    }
}
