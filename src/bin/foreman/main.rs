//! `foreman`: serves jobs, submits them and waits for them.

fn main() {}
