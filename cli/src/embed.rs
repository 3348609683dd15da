use clap::Args;
use foreman_client::{ClientBuilder, EmbedRequest, EmbedResponse};

use crate::connection::{ConnectionArgs, EmbeddedArgs};
use crate::daemons::Daemons;
use crate::exit::Failure;
use crate::{input, output};

/// Print the embedding of each text, as numbers in one line
///
/// With several --url, the daemons are asked in their order until one responds with embeddings. The errors of those before it are printed
/// to stderr.
///
/// With --embedded, uses an embedded daemon; see `foreman submit --help`.
#[derive(Args)]
pub(crate) struct Embed {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    embedded: EmbeddedArgs,
    /// The model's name
    #[arg(long)]
    model: String,
    /// Print the daemon's response as one line of JSON
    #[arg(long)]
    json: bool,
    /// The texts to embed, or a single `-` to read one from stdin
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
}

impl Embed {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut texts = self.texts;
        if let [text] = &mut *texts {
            *text = input::argument("the text", std::mem::take(text)).await?;
        }
        let request = EmbedRequest::new(self.model, texts)?;
        let connection = self.connection.connect_or_embed(self.embedded, ClientBuilder::polling).await?;
        let response = embed(&connection.daemons, &request).await?;
        if self.json {
            return output::json(&response);
        }
        response.embeddings.iter().try_for_each(|vector| {
            let numbers: Vec<_> = vector.iter().map(f32::to_string).collect();
            output::text(&numbers.join(" "))
        })
    }
}

/// The response of the first daemon that can embed the texts. An embedding changes nothing at a daemon, so that it may be asked of several.
async fn embed(daemons: &Daemons, request: &EmbedRequest) -> Result<EmbedResponse, Failure> {
    let clients = daemons.clients();
    let of = clients.len();
    for client in clients {
        match client.embed(request.clone()).await.map_err(Failure::from) {
            Err(failure) if of > 1 => failure.report_of(client.api().base_url().as_str()),
            response => return response,
        }
    }
    Err(Failure::Unavailable { failed: of, of })
}
