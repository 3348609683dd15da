use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use foreman_client::retry::RetrySubmission;
use foreman_client::{ClientBuilder, Error, SubmitRequest, SubmitRequestBuilder};
use jiff::SignedDuration;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connection::{ConnectionArgs, EmbeddedArgs};
use crate::credentials::WebhookSecretArgs;
use crate::daemons::Daemons;
use crate::exit::Failure;
use crate::monitor::{Monitor, retry_line};
use crate::result_output::ResultOutput;
use crate::{duration, input, output};

/// The first and the longest pause between two tries until a deadline: the last one is shortly before it.
const TRIES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long before the deadline the last try is, at most; a tenth of a short deadline.
const LAST_TRY: Duration = Duration::from_secs(1);

/// Submit a job, wait for it and print the assistant's response
///
/// With --embedded, an embedded daemon runs the job in this process; on a terminal also without it, if neither --url nor FOREMAN_URL
/// is set. It uses Ollama if Ollama responds at OLLAMA_HOST (default: http://127.0.0.1:11434), and an echo backend otherwise.
///
/// With several --url, the job goes to one of the daemons that have the model. Daemons that do not respond are reported and get no
/// job. The job is then named by its URL.
#[derive(Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    embedded: EmbeddedArgs,
    #[command(flatten)]
    webhook_secret: WebhookSecretArgs,
    /// The model's name; required unless --request is set
    #[arg(long, required_unless_present = "request")]
    model: Option<String>,
    /// A system message, sent before the prompt
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The model's options as a JSON object, such as {"temperature": 0, "num_predict": 100}
    #[arg(long, value_name = "JSON", value_parser = object)]
    options: Option<Box<RawValue>>,
    /// The form of the response: `json`, or a file with a JSON schema
    #[arg(long, value_name = "json|FILE")]
    format: Option<PathBuf>,
    /// How long the model server keeps the model loaded after the job: a number of seconds, or a duration such as 10m; -1 is forever
    #[arg(long, value_name = "SECONDS|DURATION", value_parser = keep_alive, allow_hyphen_values = true)]
    keep_alive: Option<Value>,
    /// The place among the jobs of the same token, from -100 to 100; higher is first [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i8).range(-100..=100), allow_hyphen_values = true)]
    priority: Option<i8>,
    /// How long the job may wait in the queue, such as 90s or 10m; a job that has not started by then fails [default: no limit]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    ttl: Option<Duration>,
    /// Read the whole request from a JSON file, or from stdin with `-`; fields: model, messages, and those of Ollama's chat request
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "system", "options", "format", "keep_alive", "priority", "ttl", "prompt"])]
    request: Option<PathBuf>,
    /// Use no webhooks, for a daemon that cannot reach this machine; several daemons send none
    #[arg(long)]
    polling: bool,
    /// Stop waiting after this time, such as 90s or 10m; the job continues. Until then, a submission that the daemon rejects for a time, or
    /// that does not reach it, is tried again, at a pause of its own or as long as the daemon asks for [default: no deadline, and four
    /// tries after the first]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    deadline: Option<Duration>,
    /// Names the submission, so that repeating the command with the same key and content returns the same job. A submission whose outcome
    /// is not known prints its key [default: a new one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print only the job's id (with several daemons, its URL), on stdout, and exit once the daemon has accepted the job; `foreman wait` gets the result
    #[arg(long, conflicts_with_all = ["embedded", "json", "artifacts"])]
    detach: bool,
    #[command(flatten)]
    output: ResultOutput,
    /// The user message, or `-` to read it from stdin, which must not be blank; required unless --request is set
    #[arg(required_unless_present = "request")]
    prompt: Option<String>,
}

impl Submit {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let request = match (self.request, self.prompt) {
            (Some(file), _) if file.as_os_str() == "-" => SubmitRequest::builder_from_json(input::stdin().await?)?,
            (Some(file), _) => SubmitRequest::builder_from_json(input::file(&file)?)?,
            (None, prompt) => {
                let builder = SubmitRequest::builder(self.model.unwrap_or_default());
                let builder = self.system.iter().fold(builder, |builder, system| builder.system(system));
                let builder = self.options.iter().fold(builder, |builder, options| builder.options(options));
                let builder = match self.format {
                    None => builder,
                    Some(word) if word.as_os_str() == "json" => builder.format("json"),
                    Some(file) => builder.format(&schema(&file)?),
                };
                let builder = self.keep_alive.iter().fold(builder, |builder, time| builder.keep_alive(time));
                let builder = self.priority.into_iter().fold(builder, SubmitRequestBuilder::priority);
                let builder = self.ttl.into_iter().fold(builder, SubmitRequestBuilder::ttl);
                builder.user(input::argument("the prompt", prompt.unwrap_or_default()).await?)
            }
        };
        let request = self.idempotency_key.iter().fold(request, SubmitRequestBuilder::idempotency_key).build()?;
        let secret = self.webhook_secret.read()?;
        self.output.prepare()?;
        let resume = self.connection.resume_command();
        // Several daemons need not reach this machine at the same address.
        let polling = self.polling || self.detach || self.connection.is_several();
        // The deadline ends the tries, and not their number.
        let until_deadline = RetrySubmission::builder().retries(u32::MAX).no_budget().backoff(TRIES.0, TRIES.1);
        let last = self.deadline.map_or(LAST_TRY, |deadline| (deadline / 10).min(LAST_TRY));
        let until_deadline = until_deadline.last_attempt(last);
        let until_deadline = self.deadline.map(|_| until_deadline.build()).transpose()?;
        let options = |mut builder: ClientBuilder| {
            // A secret may be in the environment for other calls, and is of no use to a client that only polls.
            if polling {
                builder = builder.polling();
            } else if let Some(secret) = &secret {
                builder = builder.webhook_secret(secret);
            }
            if let (Some(deadline), Some(retry)) = (self.deadline, &until_deadline) {
                builder = builder.deadline(deadline).retry(retry.clone());
            }
            builder
        };
        let several = self.connection.is_several();
        let failed = |failure: Failure| failure.of_submission(self.deadline, several);
        if self.detach {
            let daemons = self.connection.connect(options).await?;
            return detach(&daemons, request, self.deadline).await.map_err(failed);
        }
        let connection = self.connection.connect_or_embed(self.embedded, options).await?;
        let daemons = &connection.daemons;
        let submission = request.submission();
        let accepted = async {
            let id = submission.accepted().await.ok()?;
            daemons.job(Some(&id), submission.job_handle())
        };
        let monitor = Monitor {
            daemons,
            resume: (!connection.is_embedded()).then_some(resume),
            submission: Some(submission.clone()),
        };
        let result = monitor.run(accepted, daemons.submit(request, self.deadline).await?).await.map_err(failed)?;
        self.output.write(result)
    }
}

/// Submits a job, with the retries of a wait, and prints its name.
async fn detach(daemons: &Daemons, request: SubmitRequest, deadline: Option<Duration>) -> Result<(), Failure> {
    let submission = request.submission();
    let wait = daemons.submit(request, deadline).await?;
    let accepted = async { Ok::<_, Error>((submission.accepted().await?, submission.job_handle())) };
    let report = async {
        output::note(&retry_line(&submission.refused().await));
        std::future::pending::<Infallible>().await
    };
    let (id, handle) = tokio::select! {
        biased;
        accepted = accepted => accepted?,
        // Dropping the wait does not cancel the job.
        ended = wait => {
            let result = ended?;
            (result.job_id().clone(), result.job_handle())
        }
        never = report => match never {},
    };
    output::text(&daemons.job(Some(&id), handle).map_or_else(|| id.to_string(), |job| job.to_string()))
}

fn schema(file: &Path) -> Result<Box<RawValue>, Failure> {
    object(&input::file(file)?).map_err(|reason| Failure::Usage(format!("{}: {reason}", file.display())))
}

/// Seconds as a number, and a duration as a text.
fn keep_alive(text: &str) -> Result<Value, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds.into());
    }
    text.parse::<SignedDuration>().map_err(|_| "must be a number of seconds or a duration such as 10m".to_owned())?;
    Ok(text.into())
}

fn object(json: &str) -> Result<Box<RawValue>, String> {
    match serde_json::from_str::<Box<RawValue>>(json) {
        Ok(options) if options.get().starts_with('{') => Ok(options),
        Ok(_) => Err("must be a JSON object".to_owned()),
        Err(error) => Err(format!("invalid JSON: {error}")),
    }
}
