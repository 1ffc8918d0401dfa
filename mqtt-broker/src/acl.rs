//! Who may publish and subscribe to what, in the format of Mosquitto's `acl_file`.
//!
//! ```text
//! # before the first user: for clients without one
//! topic read news/#
//! user alice
//! topic readwrite store104/#
//! topic deny store104/secret/#
//! # for every user; %u is the user's name, %c the client's id
//! pattern write sensors/%u/#
//! ```
//! Without `read`, `write` or `readwrite` both are meant. What no line allows is refused; `deny` wins. One difference:
//! a subscription is refused where Mosquitto would accept it and hold back the messages, so that a client knows.

use dispatch::{check_filter, covers, overlaps};
use std::collections::HashMap;

/// An access list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acl {
    anonymous: Vec<Rule>,
    users: HashMap<String, Vec<Rule>>,
    patterns: Vec<Rule>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Rule {
    read: bool,
    write: bool,
    deny: bool,
    filter: String,
}

/// What a client is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) id: &'a str,
}

impl Acl {
    /// Reads a list; the error is the line's number and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut acl = Self::default();
        let mut user: Option<String> = None;
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |why: &str| (index + 1, why.to_owned());
            let (word, rest) = line.split_once(char::is_whitespace).ok_or_else(|| fail("a word is missing"))?;
            match word {
                "user" => {
                    let name = rest.trim().to_owned();
                    acl.users.entry(name.clone()).or_default();
                    user = Some(name);
                }
                "topic" | "pattern" => {
                    let rule = Rule::parse(rest.trim()).map_err(|why| fail(&why))?;
                    match (word, &user) {
                        ("pattern", _) => acl.patterns.push(rule),
                        (_, Some(name)) => acl.users.entry(name.clone()).or_default().push(rule),
                        (_, None) => acl.anonymous.push(rule),
                    }
                }
                _ => return Err(fail("a line begins with user, topic, pattern or #")),
            }
        }
        Ok(acl)
    }

    /// Whether a client may publish to a topic.
    pub(crate) fn may_publish(&self, client: Client<'_>, topic: &str) -> bool {
        self.allows(client, |rule| rule.write, |filter| covers(filter, topic), |filter| covers(filter, topic))
    }

    /// Whether a client may subscribe to a filter: all of it is allowed and none of it denied.
    pub(crate) fn may_subscribe(&self, client: Client<'_>, wanted: &str) -> bool {
        self.allows(client, |rule| rule.read, |filter| covers(filter, wanted), |filter| overlaps(filter, wanted))
    }

    fn allows(
        &self,
        client: Client<'_>,
        asked: impl Fn(&Rule) -> bool,
        granted: impl Fn(&str) -> bool,
        denied: impl Fn(&str) -> bool,
    ) -> bool {
        let own = match client.user {
            Some(user) => self.users.get(user).map(Vec::as_slice).unwrap_or_default(),
            None => &self.anonymous,
        };
        let mut allowed = false;
        let patterns = self.patterns.iter().filter_map(|rule| Some((rule, rule.filled(client)?)));
        for (rule, filter) in own.iter().map(|rule| (rule, rule.filter.clone())).chain(patterns) {
            if rule.deny && denied(&filter) {
                return false;
            }
            allowed |= !rule.deny && asked(rule) && granted(&filter);
        }
        allowed
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let (read, write, deny, filter) = match text.split_once(char::is_whitespace) {
            Some(("read", filter)) => (true, false, false, filter),
            Some(("write", filter)) => (false, true, false, filter),
            Some(("readwrite", filter)) => (true, true, false, filter),
            Some(("deny", filter)) => (true, true, true, filter),
            _ => (true, true, false, text),
        };
        let filter = filter.trim();
        check_filter(filter).map_err(|error| format!("topic {filter:?}: {error}"))?;
        Ok(Self { read, write, deny, filter: filter.to_owned() })
    }

    /// The pattern for one client; None when it names a user and there is none, or when the name would act as a
    /// wildcard or another level.
    fn filled(&self, client: Client<'_>) -> Option<String> {
        let plain = |text: &str| !text.contains(['+', '#', '/']);
        let mut filter = self.filter.clone();
        if filter.contains("%u") {
            filter = filter.replace("%u", client.user.filter(|user| plain(user))?);
        }
        if filter.contains("%c") {
            filter = filter.replace("%c", Some(client.id).filter(|id| plain(id))?);
        }
        Some(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# news for all\ntopic read news/#\n\nuser alice\ntopic store104/#\ntopic deny store104/secret/#\n\
                        topic write up\npattern write sensors/%u/#\npattern read devices/%c\n";

    #[test]
    fn what_no_line_allows_is_refused_and_deny_wins() {
        let acl = Acl::parse(LIST).unwrap();
        let alice = Client { user: Some("alice"), id: "c1" };
        let nobody = Client { user: None, id: "c2" };
        for (client, topic, publish, subscribe) in [
            (alice, "store104/fridge", true, true),
            (alice, "store104/#", true, false),
            (alice, "store104/+/temp", true, false),
            (alice, "store104/fridge/+", true, true),
            (alice, "store104/secret/a", false, false),
            (alice, "up", true, false),
            (alice, "news/a", false, false),
            (alice, "sensors/alice/1", true, false),
            (alice, "sensors/bob/1", false, false),
            (alice, "devices/c1", false, true),
            (nobody, "news/#", false, true),
            (nobody, "#", false, false),
            (nobody, "sensors/alice/1", false, false),
            (Client { user: Some("+"), id: "x" }, "sensors/alice/1", false, false),
        ] {
            assert_eq!(acl.may_publish(client, topic), publish, "publish {client:?} {topic}");
            assert_eq!(acl.may_subscribe(client, topic), subscribe, "subscribe {client:?} {topic}");
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(Acl::parse("user a\ntopic read a#").unwrap_err().0, 2);
        assert_eq!(Acl::parse("topics a").unwrap_err().0, 1);
        assert_eq!(Acl::parse("user").unwrap_err().0, 1);
    }
}
