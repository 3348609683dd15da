//! What runs the jobs: [`Backend`], made of tower services, and [`Echo`], which runs none.

mod chat;
mod echo;
mod erased;
mod failure;

pub(crate) use self::chat::Draft;
pub use self::chat::{Chat, ChatAnswer};
pub use self::echo::Echo;
pub use self::erased::{Backend, ListModels};
pub(crate) use self::failure::failure;
