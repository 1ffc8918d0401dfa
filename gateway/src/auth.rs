//! HTTP Basic auth in front of `/system/*`.

use crate::config::Credentials;
use crate::respond::Refusal;
use crate::state::State;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use actix_web::http::uri::Authority;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, web};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// Lets a request pass that knows the password, or when none is configured any that no web page can make.
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
    } else if let Some(why) = of_a_web_page(request.request()) {
        return Err(Refusal::Forbidden(format!(
            "{why}: without a password the gateway manages nothing for web pages, wherever they come from; start it \
             with a password, or ask it from this machine at 127.0.0.1 with a program that is no browser"
        ))
        .into());
    }
    next.call(request).await
}

/// What shows that a browser may ask for some page, which could be anyone's: another site's (CSRF), or one whose name
/// leads to this machine (DNS rebinding).
fn of_a_web_page(request: &HttpRequest) -> Option<&'static str> {
    let headers = request.headers();
    if headers.contains_key(ORIGIN) {
        return Some("the request has an Origin");
    }
    if headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site")) {
        return Some("the request comes from another site's page");
    }
    // HTTP/2 says it in the request's target.
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or("?")).or_else(|| request.uri().host());
    let local = host.is_none_or(is_this_machine);
    (!local).then_some("the request's Host is not localhost or a loopback address")
}

fn is_this_machine(host: &str) -> bool {
    let Ok(host) = host.parse::<Authority>() else { return false };
    let name = host.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
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
    use actix_web::test::TestRequest;

    #[test]
    fn no_web_page_manages_a_gateway_without_a_password() {
        let refused = |headers: &[(&'static str, &'static str)]| {
            let request = headers.iter().fold(TestRequest::default(), |request, header| request.insert_header(*header));
            of_a_web_page(&request.to_http_request()).is_some()
        };
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::1]"] {
            assert!(!refused(&[("host", host)]), "{host}");
            assert!(!refused(&[("host", host), ("sec-fetch-site", "none")]), "{host}");
            assert!(refused(&[("host", host), ("origin", "null")]), "{host}");
            assert!(refused(&[("host", host), ("sec-fetch-site", "cross-site")]), "{host}");
        }
        for host in ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.2", "", "a b"]
        {
            assert!(refused(&[("host", host)]), "{host}");
        }
    }

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
