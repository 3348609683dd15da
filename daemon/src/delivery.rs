//! Webhooks: the daemon reports each change of a job's state to the callback URL of its submission.
//!
//! The store records an event in the transaction that changes the state. The [`Dispatcher`] claims the events that are due,
//! [signs](Signer) each as a [`Webhook`] and calls a [`Service`](tower::Service) with it, whose response is a
//! [`DeliveryOutcome`]: [`WebhookSender`], and the layers around it. The [`RetrySchedule`] maps the outcome to the event's next
//! step, and the dispatcher stores that.
//!
//! The events of one job are sent in order, one at a time. Those of different jobs are sent concurrently, up to a limit, and up to
//! a lower one [for each destination](crate::store::Destinations). An event between two attempts is in the store, where it delays
//! no other job. So is an event whose destination has no room, so that a receiver that is down delays no other receiver.

mod address;
mod connect;
mod dispatch;
mod hosts;
mod ip_literal;
mod outcome;
mod own_servers;
mod policy;
mod retry_schedule;
#[cfg(feature = "tls")]
mod roots;
mod sender;
mod signer;
#[cfg(feature = "tls")]
mod tls;
mod webhook;

pub(super) use self::dispatch::Dispatcher;
pub use self::hosts::WebhookHosts;
pub(super) use self::outcome::DeliveryOutcome;
pub(super) use self::own_servers::OwnServers;
pub(super) use self::policy::Policy;
pub(super) use self::retry_schedule::RetrySchedule;
#[cfg(feature = "tls")]
pub(super) use self::roots::Roots;
pub(super) use self::sender::WebhookSender;
pub(super) use self::signer::Signer;
pub(super) use self::webhook::Webhook;
