//! Hostile callers: futures that are never polled, polled once, leaked, held beside others.

mod unpolled;
