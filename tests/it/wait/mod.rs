//! Waits over a mock of the HTTP client.
