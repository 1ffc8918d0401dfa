//! Whether the box passes packets on at all.
//!
//! That is one switch for the whole box. Turned on for functions it would make a router of a box with two networks; so
//! where it was off, a rule keeps the box from passing anything on between the devices it had then.

use super::firewall::Firewall;
use super::{EgressError, links};
use std::fs;

const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";

pub(super) fn is_on() -> Result<bool, EgressError> {
    fs::read_to_string(SWITCH).map(|text| text.trim() != "0").map_err(|error| {
        EgressError::unavailable(format!("{SWITCH} cannot be read: {error}"), "mount /proc with its sys/net")
    })
}

/// The devices between which the box is not to pass anything on: all there are, where it passed on nothing; those an
/// earlier process of ours noted in its rules; none where forwarding is somebody else's.
pub(super) fn unrouted(firewall: &Firewall) -> Result<Option<Vec<String>>, EgressError> {
    if is_on()? {
        return Ok(firewall.unrouted());
    }
    if !firewall.keeps_unrouted() {
        return Err(EgressError::unavailable(
            "this box does not pass packets on (net.ipv4.ip_forward is 0)",
            "install nftables, with which this is done safely, or set it to 1 with sysctl",
        ));
    }
    Ok(Some(devices()?))
}

pub(super) fn turn_on() -> Result<(), EgressError> {
    if is_on()? { Ok(()) } else { set("1") }
}

pub(super) fn turn_off() -> Result<(), EgressError> {
    set("0")
}

/// Whether something else may have come to need forwarding: there are devices now that were not there then.
pub(super) fn is_needed(unrouted: &[String]) -> Result<bool, EgressError> {
    let all = all()?;
    Ok(all.iter().any(|name| !unrouted.contains(name)))
}

fn set(value: &str) -> Result<(), EgressError> {
    fs::write(SWITCH, value).map_err(|error| {
        let remedy = "let the platform write there, or set net.ipv4.ip_forward to 1 with sysctl";
        EgressError::unavailable(format!("{SWITCH} cannot be written: {error}"), remedy)
    })
}

/// All devices but links of functions.
fn devices() -> Result<Vec<String>, EgressError> {
    Ok(all()?.into_iter().filter(|name| !name.starts_with(links::ALL)).collect())
}

fn all() -> Result<Vec<String>, EgressError> {
    links::names()
        .map_err(|error| EgressError::unavailable(format!("the devices cannot be listed: {error}"), "run it as root"))
}
