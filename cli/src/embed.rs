use clap::Args;
use foreman_client::{ClientBuilder, EmbedRequest};

use crate::connection::Connection;
use crate::exit::Failure;
use crate::{input, output};

/// Print the embedding of each text, its numbers in one line
#[derive(Args)]
pub(crate) struct Embed {
    #[command(flatten)]
    connection: Connection,
    /// The model that is asked
    #[arg(long)]
    model: String,
    /// Print the daemon's answer as one line of JSON
    #[arg(long)]
    json: bool,
    /// What is embedded, or a single `-` for stdin
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
}

impl Embed {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut texts = self.texts;
        if let [text] = &mut *texts {
            *text = input::given(std::mem::take(text)).await?;
        }
        let request = EmbedRequest::new(self.model, texts)?;
        let connected = self.connection.or_embedded(ClientBuilder::polling).await?;
        let answer = connected.client.embed(request).await?;
        if self.json {
            return output::json(&answer);
        }
        answer.embeddings.iter().try_for_each(|vector| {
            let numbers: Vec<_> = vector.iter().map(f32::to_string).collect();
            output::text(&numbers.join(" "))
        })
    }
}
