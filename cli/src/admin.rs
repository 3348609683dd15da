//! `foreman admin`: the daemons that share a queue, for operators.

mod boxes;
mod drain;
mod find;
mod table;

use clap::{Args, Subcommand};
use foreman_client::{Client, ClientBuilder};

use self::boxes::Boxes;
use self::drain::{Drain, Undrain};
use crate::connection::ConnectionArgs;
use crate::credentials::AdminTokenArgs;
use crate::exit::Failure;

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
    /// Connects with the admin token, or without one as any other command.
    async fn connect(self) -> Result<Client, Failure> {
        self.connection.connect_to_one(self.admin_token.read()?, ClientBuilder::polling).await
    }
}
