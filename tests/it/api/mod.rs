//! `Api`: the requests on the wire, and the result or error of each response.

mod classification;
mod contracts;
mod endpoints;
mod failover;
mod layers;
mod requests;
mod responses;
mod timing;
