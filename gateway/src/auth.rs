//! HTTP Basic auth in front of `/system/*`.

use crate::config::Credentials;
use crate::respond::Refusal;
use crate::state::State;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::{Error, web};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Lets a request pass that knows the password, or any when none is configured.
pub(crate) async fn require(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if let Some(wanted) = &state.config.auth {
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !matches(wanted, given) {
            return Err(Refusal::Unauthorized.into());
        }
    }
    next.call(request).await
}

/// Whether an `Authorization` header holds these credentials. Digests are compared, so that neither a name's nor a
/// password's length or beginning shows in the time it takes.
fn matches(wanted: &Credentials, authorization: &str) -> bool {
    const STANDARD: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let Some((scheme, encoded)) = authorization.split_once(' ') else { return false };
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let Ok(decoded) = STANDARD.decode(encoded.trim()) else { return false };
    let Some(colon) = decoded.iter().position(|byte| *byte == b':') else { return false };
    let same = |given: &[u8], wanted: &str| Sha256::digest(given).ct_eq(&Sha256::digest(wanted));
    (same(&decoded[..colon], &wanted.user) & same(&decoded[colon + 1..], &wanted.password)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_name_and_password_pass() {
        let wanted = Credentials { user: "admin".to_owned(), password: "a:b".to_owned() };
        // admin:a:b, padded and not
        for good in ["Basic YWRtaW46YTpi", "basic  YWRtaW46YTpi "] {
            assert!(matches(&wanted, good), "{good}");
        }
        // admin:a, root:a:b, no colon, no base64
        for bad in ["", "Bearer ", "Basic", "Basic YWRtaW46YQ==", "Basic cm9vdDphOmI=", "Basic YWRtaW4=", "Basic ?"] {
            assert!(!matches(&wanted, bad), "{bad}");
        }
    }
}
