//! What is said when everything runs: where it is, what to try, what is open to the network.

use crate::cli::Up;
use crate::terminal::say;
use provider_local::Isolation;
use sandbox::Level;
use serde_json::json;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use wire::annotation;
use wire::function::FunctionStatus;

/// Where everything listens.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// The public gateway.
    pub(crate) gateway: SocketAddr,
    /// Whether it speaks HTTPS.
    pub(crate) https: bool,
    /// Metrics.
    pub(crate) metrics: SocketAddr,
    /// The built-in broker, unless another one is used.
    pub(crate) mqtt: Option<SocketAddr>,
}

impl Addresses {
    /// The gateway's URL as a client on this box writes it.
    pub(crate) fn gateway_url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", reachable(self.gateway))
    }

    /// Writes where everything listens to a file, for scripts; it goes when the platform stops.
    pub(crate) fn publish(&self, run: &Path) -> io::Result<Published> {
        let file = run.join("crema.json");
        let addresses = json!({
            "pid": std::process::id(),
            "gateway": self.gateway_url(),
            "metrics": format!("http://{}", reachable(self.metrics)),
            "mqtt": self.mqtt.map(|mqtt| format!("mqtt://{}", reachable(mqtt))),
        });
        let new = file.with_extension("new");
        fs::write(&new, addresses.to_string())?;
        fs::rename(&new, &file)?;
        Ok(Published(file))
    }
}

/// The published file; removed when this goes.
#[derive(Debug)]
pub(crate) struct Published(PathBuf);

impl Drop for Published {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap_or_default();
    }
}

/// Says what there is and what to try.
pub(crate) fn announce(
    up: &Up,
    addresses: &Addresses,
    state: &Path,
    isolation: &Isolation,
    functions: &[FunctionStatus],
) {
    let gateway = addresses.gateway_url();
    say("");
    for function in functions {
        say(format_args!("  {:<14} {gateway}/function/{}", function.name, function.name));
        let topics: Vec<&str> =
            annotation::topics(&function.annotations).into_iter().filter(|topic| *topic != wire::CRON_TOPIC).collect();
        if !topics.is_empty() {
            say(format_args!("  {:<14} on MQTT {}", "", topics.join(", ")));
        }
        if let Some(schedule) = function.annotations.get(annotation::SCHEDULE) {
            say(format_args!("  {:<14} at {schedule}", ""));
        }
    }
    say("");
    if !up.no_auth {
        let password = state.join("auth/basic-auth-password");
        let address = if gateway == "http://127.0.0.1:8080" { String::new() } else { format!(" --gateway {gateway}") };
        say(format_args!("Log in:  faas-cli login{address} --password-stdin < {}", password.display()));
    }
    say("Try:     curl -s \\");
    say(format_args!(
        "           {gateway}/function/order -d '{{\"items\":[{{\"sku\":\"espresso\",\"quantity\":2}}],\"payment\":{{\"token\":\"tok_visa\"}}}}'"
    ));
    if let Some(mqtt) = addresses.mqtt {
        say(format_args!(
            "         mosquitto_pub -p {} -q 1 -t store104/fridge/temp -m '{{\"temp\":97.4,\"unit\":\"F\"}}'",
            mqtt.port()
        ));
    }
    say("         faas-cli list");
    say("");
    say(format_args!("Metrics: http://{}/metrics", reachable(addresses.metrics)));
    say(format_args!("State:   {}", state.display()));
    say(format_args!("Safety:  functions are confined at level {}", isolation.describe()));
    if isolation.level() == Level::None && rustix::process::geteuid().is_root() {
        say("         Functions run as root, like crema itself: run it as another user to confine them.");
    }
    say_open(up, addresses);
    say("Ready. Ctrl-C stops.");
}

/// Says which ports the network can reach, and with what.
fn say_open(up: &Up, addresses: &Addresses) {
    let mut open = Vec::new();
    if !addresses.gateway.ip().is_loopback() {
        let how = if addresses.https { "HTTPS" } else { "plain HTTP: passwords and calls can be read" };
        open.push(format!("gateway {} ({how})", addresses.gateway));
    }
    if !addresses.metrics.ip().is_loopback() {
        open.push(format!("metrics {} (no password)", addresses.metrics));
    }
    if let Some(mqtt) = addresses.mqtt.filter(|mqtt| !mqtt.ip().is_loopback()) {
        let how = if up.mqtt_anonymous { "everyone may publish" } else { "passwords, in the clear" };
        open.push(format!("MQTT {mqtt} ({how})"));
    }
    if open.is_empty() {
        say("Open to the network: nothing; everything listens on loopback.");
    } else {
        say(format_args!("Open to the network: {}.", open.join("; ")));
    }
}

/// An address a client on this box can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
