//! What operators may do. A token of a user is not enough: a drained daemon delays the jobs of all.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;

use super::auth::{bearer, unauthorized};
use super::{AllowedHosts, App, Rejection};

/// Middleware of requests that only read: the admin token will do as well as any other.
pub(super) async fn check_reader(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let token = bearer(request.headers());
    if app.tokens.owner(token).is_none() && !app.admin.contains(token) {
        return Err(unauthorized());
    }
    Ok(next.run(request).await)
}

/// Middleware of requests for operators.
pub(super) async fn check_admin(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, Rejection> {
    let token = bearer(request.headers());
    if !app.admin.contains(token) && !is_open(&app) {
        return Err(match app.tokens.owner(token) {
            None => unauthorized(),
            Some(_) if app.admin.is_empty() => forbidden(
                "this needs an admin token, and the daemon has none: set --admin-token-file or FOREMAN_ADMIN_TOKEN of foreman serve",
            ),
            Some(_) => forbidden("this needs the admin token of the daemon"),
        });
    }
    Ok(next.run(request).await)
}

/// Whether everyone who can send requests may do everything: those on this machine.
fn is_open(app: &App) -> bool {
    app.admin.is_empty() && app.tokens.is_empty() && app.hosts == AllowedHosts::Loopback
}

fn forbidden(reason: &'static str) -> Rejection {
    Rejection::new(StatusCode::FORBIDDEN, reason)
}
