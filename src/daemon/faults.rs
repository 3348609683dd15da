//! Faults.

mod events;
mod handle;
mod hold;
mod jobs;
mod middleware;
mod refusal;
mod requests;
mod seen;
mod spoil;
mod state;
mod times;

pub use self::events::EventFaults;
pub use self::handle::Faults;
pub(super) use self::hold::{Hold, Next};
pub use self::jobs::JobFaults;
pub(super) use self::middleware::{around, unless_lost};
pub use self::refusal::Refusal;
pub use self::requests::RequestFaults;
pub use self::seen::Seen;
pub use self::spoil::Forgery;
pub(super) use self::spoil::Spoilt;
pub use self::times::Times;
