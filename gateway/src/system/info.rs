//! `/system/info`: who the gateway is and what it runs on. Nothing in it is ever null: `faas-cli version` dies of it.

use crate::state::State;
use actix_web::{HttpResponse, web};
use wire::info::{Info, Version};

pub(super) async fn get(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(Info {
        provider: state.provider.info(),
        version: Version {
            commit_message: String::new(),
            sha: option_env!("CREMA_GIT_SHA").unwrap_or_default().to_owned(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
        },
        arch: std::env::consts::ARCH.to_owned(),
    })
}
