//! Hostile callers: futures that are never polled, polled rarely, dropped early, leaked, held beside others.

mod daemon;
mod dropped;
mod many;
mod programs;
mod services;
mod tokens;
mod unpolled;
mod wakers;
