//! Which functions want which topics: MQTT's rules for filters, over the `topic` annotations of all functions.
//!
//! `+` stands for one level and `#`, as the last level, for its parent and all below. Filters that begin with a wildcard
//! leave topics that begin with `$` alone. A filter without wildcards is compared exactly, as upstream compares topics.

use crate::filter::{MAX_LEVELS, check_filter};
use std::collections::{BTreeSet, HashMap};
use wire::function::FunctionStatus;
use wire::{CRON_TOPIC, FunctionName, annotation};

/// Which functions want which topics.
#[derive(Debug, Default)]
pub struct TopicMap {
    functions: Vec<FunctionName>,
    root: Level,
    filters: BTreeSet<String>,
    problems: Vec<String>,
}

/// One level of the tree of filters. Numbers are places in `TopicMap::functions`.
#[derive(Debug, Default)]
struct Level {
    named: HashMap<Box<str>, Self>,
    any: Option<Box<Self>>,
    /// Filters that end here.
    ends: Vec<usize>,
    /// Filters that go on with `#`.
    rest: Vec<usize>,
}

impl TopicMap {
    /// The map of these functions. A filter that is none is left out and named by [`problems`](Self::problems).
    #[must_use]
    pub fn new(functions: &[FunctionStatus]) -> Self {
        let mut map = Self::default();
        for function in functions {
            let Ok(name) = FunctionName::new(&function.name, &function.namespace) else { continue };
            let index = map.functions.len();
            map.functions.push(name);
            for filter in annotation::topics(&function.annotations) {
                map.add(filter, index);
            }
        }
        map
    }

    fn add(&mut self, filter: &str, function: usize) {
        // The mark of scheduled functions is no one's to publish.
        if filter == CRON_TOPIC {
            return;
        }
        if let Err(error) = check_filter(filter) {
            let shown: String = filter.chars().take(80).collect();
            self.problems.push(format!("{}: topic {shown:?}: {error}", self.functions[function]));
            return;
        }
        self.filters.insert(filter.to_owned());
        let mut level = &mut self.root;
        for part in filter.split('/') {
            level = match part {
                "#" => {
                    level.rest.push(function);
                    return;
                }
                "+" => level.any.get_or_insert_default(),
                name => level.named.entry(name.into()).or_default(),
            };
        }
        level.ends.push(function);
    }

    /// The functions that want `topic`, each once, in the order of the list.
    #[must_use]
    pub fn matches(&self, topic: &str) -> Vec<&FunctionName> {
        if topic == CRON_TOPIC {
            return Vec::new();
        }
        let mut found = BTreeSet::new();
        // Deeper levels than any filter has are all alike: `#` takes them or nothing does.
        let levels: Vec<&str> = topic.splitn(MAX_LEVELS + 1, '/').collect();
        self.root.collect(&levels, !topic.starts_with('$'), &mut found);
        found.into_iter().map(|index| &self.functions[index]).collect()
    }

    /// Every filter of every function, for those who subscribe.
    #[must_use]
    pub fn filters(&self) -> &BTreeSet<String> {
        &self.filters
    }

    /// Annotations that are no filters, in words.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Level {
    fn collect(&self, levels: &[&str], wildcards: bool, found: &mut BTreeSet<usize>) {
        if wildcards {
            found.extend(&self.rest);
        }
        let Some((first, below)) = levels.split_first() else {
            found.extend(&self.ends);
            return;
        };
        if let Some(named) = self.named.get(*first) {
            named.collect(below, true, found);
        }
        if let Some(any) = self.any.as_ref().filter(|_| wildcards) {
            any.collect(below, true, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(topics: &[&str]) -> TopicMap {
        let functions: Vec<FunctionStatus> = topics
            .iter()
            .enumerate()
            .map(|(index, topic)| FunctionStatus {
                name: format!("f{index}"),
                annotations: [("topic".to_owned(), (*topic).to_owned())].into(),
                ..FunctionStatus::default()
            })
            .collect();
        TopicMap::new(&functions)
    }

    fn matches(filter: &str, topic: &str) -> bool {
        !map(&[filter]).matches(topic).is_empty()
    }

    #[test]
    fn filters_match_as_mqtt_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/", false),
            ("a/b", "A/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("+", "a", true),
            ("+", "/a", false),
            ("+/+", "/a", true),
            ("/+", "/a", true),
            ("#", "a/b/c", true),
            ("#", "/", true),
            ("a/#", "a", true),
            ("a/#", "a/", true),
            ("a/#", "ab", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("a/#", "a/$x", true),
            ("+/fridge/temp,/+/fridge/temp", "store104/fridge/temp", true),
            ("+/fridge/temp,/+/fridge/temp", "/store104/fridge/temp", true),
            (" a , b ,", "b", true),
            ("cron-function", "cron-function", false),
            ("#", "cron-function", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn a_function_whose_filters_all_match_is_called_once() {
        let map = map(&["a/b,a/+,#", "a/#"]);
        let names: Vec<String> = map.matches("a/b").iter().map(ToString::to_string).collect();
        assert_eq!(names, ["f0.openfaas-fn", "f1.openfaas-fn"]);
    }

    #[test]
    fn what_is_no_filter_is_named_and_harms_no_other() {
        let deep = "+/".repeat(10_000) + "+";
        let map = map(&["a#,good", "a/#/b", "a+", &deep]);
        assert_eq!(map.problems().len(), 4, "{:?}", map.problems());
        assert_eq!(map.matches("good").len(), 1);
        assert!(map.problems()[0].contains("f0.openfaas-fn") && map.problems()[0].contains("a#"));
    }

    /// MQTT's rules written the slow way.
    fn naive(filter: &str, topic: &str) -> bool {
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
        loop {
            match (filter.next(), topic.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_the_naive_rule(
            filters in prop::collection::vec(prop::collection::vec("[ab$]|\\+|", 0..5), 1..6),
            rest in prop::collection::vec(any::<bool>(), 6),
            topic in prop::collection::vec("[ab$]|", 1..6),
        ) {
            let filters: Vec<String> = filters.iter().zip(rest).map(|(levels, rest)| {
                let mut levels = levels.clone();
                if rest { levels.push("#".to_owned()); }
                levels.join("/")
            }).collect();
            let topic = topic.join("/");
            let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
            let map = map(&filters);
            let expected: Vec<String> = filters.iter().enumerate()
                .filter(|(_, filter)| !filter.is_empty() && naive(filter, &topic))
                .map(|(index, _)| format!("f{index}.openfaas-fn"))
                .collect();
            let found: Vec<String> = map.matches(&topic).iter().map(ToString::to_string).collect();
            let mut sorted = expected.clone();
            sorted.sort();
            let mut found_sorted = found;
            found_sorted.sort();
            prop_assert_eq!(found_sorted, sorted, "{:?} {}", filters, topic);
        }

        #[test]
        fn no_text_panics(filter in ".*", topic in ".*") {
            drop(map(&[&filter]).matches(&topic));
        }
    }
}
