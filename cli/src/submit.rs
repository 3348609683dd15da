use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use foreman_client::SubmitRequest;
use serde_json::value::RawValue;

use crate::attend::Attendant;
use crate::connection::Connection;
use crate::credentials::WebhookSecret;
use crate::exit::Failure;
use crate::wait::Telling;
use crate::{input, time};

/// Submit a job, wait for it and print what the assistant said
///
/// Without a daemon named, one in this process does it: with Ollama, if it answers where OLLAMA_HOST says or on its usual port,
/// else as an echo.
#[derive(Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    webhook_secret: WebhookSecret,
    /// The model that is asked
    #[arg(long, required_unless_present = "request")]
    model: Option<String>,
    /// What the model is told beforehand
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The model's options as JSON, such as {"temperature": 0, "num_predict": 100}
    #[arg(long, value_name = "JSON", value_parser = options)]
    options: Option<Box<RawValue>>,
    /// A whole request as JSON, from a file or `-` for stdin: model, messages, stream, tools, options, think
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "system", "options", "prompt"])]
    request: Option<PathBuf>,
    /// Wait by polling alone, for a daemon that cannot reach this machine
    #[arg(long)]
    polling: bool,
    /// How long to wait, such as 90s or 10m; the job goes on after it
    #[arg(long, value_parser = time::parse, value_name = "TIME")]
    deadline: Option<Duration>,
    #[command(flatten)]
    telling: Telling,
    /// What the user says, or `-` for stdin
    #[arg(required_unless_present = "request")]
    prompt: Option<String>,
}

impl Submit {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let request = match (self.request, self.prompt) {
            (Some(file), _) if file.as_os_str() == "-" => SubmitRequest::from_json(input::stdin().await?)?,
            (Some(file), _) => SubmitRequest::from_json(input::file(&file)?)?,
            (None, prompt) => {
                let builder = SubmitRequest::builder(self.model.unwrap_or_default());
                let builder = self.system.iter().fold(builder, |builder, system| builder.system(system));
                let builder = self.options.iter().fold(builder, |builder, options| builder.options(options));
                builder.user(input::given(prompt.unwrap_or_default()).await?).build()?
            }
        };
        let secret = self.webhook_secret.read()?;
        self.telling.prepare()?;
        let url = self.connection.flagged();
        let connected = self
            .connection
            .or_embedded(|mut builder| {
                if self.polling {
                    builder = builder.polling();
                }
                if let Some(secret) = secret {
                    builder = builder.webhook_secret(secret);
                }
                if let Some(deadline) = self.deadline {
                    builder = builder.deadline(deadline);
                }
                builder
            })
            .await?;
        let submission = request.submission();
        let attendant = Attendant { client: &connected.client, url, embedded: connected.is_embedded() };
        let result = attendant.attend(submission.accepted(), connected.client.submit(request)).await?;
        self.telling.tell(result)
    }
}

fn options(json: &str) -> Result<Box<RawValue>, String> {
    match serde_json::from_str::<Box<RawValue>>(json) {
        Ok(options) if options.get().starts_with('{') => Ok(options),
        Ok(_) => Err("must be a JSON object".to_owned()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}
