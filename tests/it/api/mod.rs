//! The leaf: what goes over the wire, and what is made of every answer.

mod answers;
mod classification;
mod contracts;
mod endpoints;
mod layers;
mod requests;
mod timing;
