//! Constraints to a node selector.

use crate::Stalled;
use wire::function::TextMap;

/// `LABEL=VALUE` and `LABEL==VALUE`, as OpenFaaS's stack files have them.
pub(super) fn node_selector(constraints: &[String]) -> Result<Option<TextMap>, Stalled> {
    let selector = constraints.iter().map(|constraint| {
        let bad = || Stalled::BadConstraint(constraint.chars().take(80).collect());
        let (key, value) = constraint.split_once('=').ok_or_else(bad)?;
        let value = value.strip_prefix('=').unwrap_or(value).trim();
        let key = key.trim();
        let odd = |text: &str| text.is_empty() || text.contains(|c: char| c.is_whitespace() || "=!<>,".contains(c));
        if odd(key) || odd(value) { Err(bad()) } else { Ok((key.to_owned(), value.to_owned())) }
    });
    let selector: TextMap = selector.collect::<Result<_, _>>()?;
    Ok((!selector.is_empty()).then_some(selector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_become_a_selector_and_anything_else_is_refused() {
        let constraints = ["disk=ssd".to_owned(), "kubernetes.io/arch == arm64".to_owned()];
        let selector = node_selector(&constraints).unwrap().unwrap();
        assert_eq!(selector["disk"], "ssd");
        assert_eq!(selector["kubernetes.io/arch"], "arm64");
        assert_eq!(node_selector(&[]), Ok(None));
        for bad in ["disk", "disk!=ssd", "=ssd", "disk=", "a=b=c", "disk>=3", ""] {
            assert_eq!(node_selector(&[bad.to_owned()]), Err(Stalled::BadConstraint(bad.to_owned())));
        }
    }
}
