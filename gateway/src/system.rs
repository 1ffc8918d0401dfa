//! `/system/*`: the REST API, behind [`crate::auth`].

use actix_web::web;

/// Registers the routes. Paths are relative to `/system`; the password has been asked for.
pub(crate) fn routes(_config: &mut web::ServiceConfig) {}
