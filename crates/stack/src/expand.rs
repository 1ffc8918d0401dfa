//! Substitution of `${…}` in the raw text, before it is YAML, in the forms faas-cli knows.
//!
//! `${A}`, `${A:-d}` (also `:=`, `:+`, `:?`, which all mean "`d` when unset or empty"), `${#A}`, `${A^}`, `${A^^}`,
//! `${A,}`, `${A,,}`, `${A:2}`, `${A:0:2}`, `${A#p}`, `${A##p}`, `${A%p}`, `${A%%p}`, `${A/p/s}`, `${A//p/s}`,
//! `${A/#p/s}`, `${A/%p/s}`; `$${A}` is the text `${A}`, and a `$` before anything else is a `$`. Words may hold
//! further `${…}`.

use crate::pattern;

/// Where substitution fails, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{why} in `{near}`; a substitution looks like ${{NAME}} or ${{NAME:-default}}, and $${{NAME}} is not substituted"
)]
pub(crate) struct ExpandError {
    line: u64,
    near: String,
    why: &'static str,
}

impl ExpandError {
    pub(crate) fn line(&self) -> u64 {
        self.line
    }
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces every substitution of the text.
pub(crate) fn expand(text: &str, variable: Lookup<'_>) -> Result<String, ExpandError> {
    let mut scanner = Scanner { text, at: 0, variable, depth: 0 };
    scanner.text_until(&[])
}

/// How deep words may hold words.
const MAX_DEPTH: usize = 20;

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    variable: Lookup<'a>,
    depth: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes `token` when it comes next.
    fn take(&mut self, token: &str) -> bool {
        let next = self.rest().starts_with(token);
        if next {
            self.at += token.len();
        }
        next
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Text with its substitutions made, up to one of `ends`, which is not taken.
    fn text_until(&mut self, ends: &[char]) -> Result<String, ExpandError> {
        let mut out = String::new();
        loop {
            if self.take("$${") {
                out.push_str("${");
                // The name and brace that follow are text, also inside a word.
                while let Some(next) = self.next() {
                    out.push(next);
                    if next == '}' {
                        break;
                    }
                }
                continue;
            }
            if self.rest().starts_with("${") {
                out.push_str(&self.substitution()?);
                continue;
            }
            match self.rest().chars().next() {
                Some(next) if ends.contains(&next) => return Ok(out),
                Some(next) => {
                    out.push(next);
                    self.at += next.len_utf8();
                }
                None => return Ok(out),
            }
        }
    }

    fn substitution(&mut self) -> Result<String, ExpandError> {
        let start = self.at;
        self.at += "${".len();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(start, "substitutions are nested too deep"));
        }
        let length = self.take("#");
        let name = self.name();
        if name.is_empty() {
            return Err(self.error(start, "there is no name"));
        }
        let value = (self.variable)(name).unwrap_or_default();
        let replaced = if length { value.chars().count().to_string() } else { self.operation(value)? };
        if !self.take("}") {
            return Err(self.error(start, "the closing brace is missing"));
        }
        self.depth -= 1;
        Ok(replaced)
    }

    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn operation(&mut self, value: String) -> Result<String, ExpandError> {
        for default in [":-", ":=", ":+", ":?"] {
            if self.take(default) {
                let word = self.word(&['}'])?;
                return Ok(if value.is_empty() { word } else { value });
            }
        }
        if self.take("^^") {
            return Ok(value.to_uppercase());
        }
        if self.take(",,") {
            return Ok(value.to_lowercase());
        }
        if self.take("^") {
            return Ok(first(&value, |first| first.to_uppercase().collect()));
        }
        if self.take(",") {
            return Ok(first(&value, |first| first.to_lowercase().collect()));
        }
        if self.take(":") {
            return self.cut(&value);
        }
        for (token, trim) in [
            ("##", pattern::trim_start_longest as fn(&str, &str) -> String),
            ("#", pattern::trim_start_shortest),
            ("%%", pattern::trim_end_longest),
            ("%", pattern::trim_end_shortest),
        ] {
            if self.take(token) {
                return Ok(trim(&value, &self.word(&['}'])?));
            }
        }
        for (token, replace) in [
            ("//", pattern::replace_all as fn(&str, &str, &str) -> String),
            ("/#", pattern::replace_start),
            ("/%", pattern::replace_end),
            ("/", pattern::replace_first),
        ] {
            if self.take(token) {
                let searched = self.word(&['/', '}'])?;
                let replacement = if self.take("/") { self.word(&['}'])? } else { String::new() };
                return Ok(replace(&value, &searched, &replacement));
            }
        }
        Ok(value)
    }

    /// `:offset` and `:offset:length`, in characters.
    fn cut(&mut self, value: &str) -> Result<String, ExpandError> {
        let start = self.at;
        let number = |scanner: &Self, word: &str| {
            word.trim().parse::<usize>().map_err(|_| scanner.error(start, "the place to cut is no number"))
        };
        let offset = self.word(&[':', '}'])?;
        let offset = number(self, &offset)?;
        let length = if self.take(":") {
            let word = self.word(&['}'])?;
            number(self, &word)?
        } else {
            usize::MAX
        };
        Ok(value.chars().skip(offset).take(length).collect())
    }

    /// A word up to one of `ends`; a line's end means that the brace was forgotten.
    fn word(&mut self, ends: &[char]) -> Result<String, ExpandError> {
        let ends: Vec<char> = ends.iter().copied().chain(['\n']).collect();
        self.text_until(&ends)
    }

    fn error(&self, start: usize, why: &'static str) -> ExpandError {
        let before = &self.text[..start];
        let line = before.matches('\n').count() as u64 + 1;
        let near = self.text[start..].lines().next().unwrap_or_default().chars().take(60).collect();
        ExpandError { line, near, why }
    }
}

fn first(value: &str, change: impl Fn(char) -> String) -> String {
    let mut rest = value.chars();
    rest.next().map(change).unwrap_or_default() + rest.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_variables(text: &str) -> Result<String, ExpandError> {
        expand(text, &|name| match name {
            "GIVEN" => Some("value".to_owned()),
            "FILE" => Some("a.tar.gz".to_owned()),
            "UMLAUT" => Some("äöü".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn every_form_does_what_faas_cli_does() {
        for (text, expected) in [
            ("${GIVEN}", "value"),
            ("[${UNSET}]", "[]"),
            ("${UNSET:-d}${UNSET:=e}${UNSET:?f}${UNSET:+g}", "defg"),
            ("${EMPTY:-d} ${GIVEN:-d} ${GIVEN:+d}", "d value value"),
            ("${UNSET:-http://127.0.0.1:8080/a-b}", "http://127.0.0.1:8080/a-b"),
            ("${UNSET:-}", ""),
            ("${UNSET:-${GIVEN}/x}", "value/x"),
            ("${#GIVEN} ${#UNSET} ${#UMLAUT}", "5 0 3"),
            ("${GIVEN^^} ${GIVEN^} ${GIVEN,,} ${UMLAUT^^}", "VALUE Value value ÄÖÜ"),
            ("${GIVEN:0:2} ${GIVEN:3} ${GIVEN:9} ${UMLAUT:1:1}", "va ue  ö"),
            ("${GIVEN/v/w} ${GIVEN/x/y}", "walue value"),
            ("${FILE%.*} ${FILE%%.*} ${FILE#*.} ${FILE##*.}", "a.tar a tar.gz gz"),
            ("${FILE//a/b} ${FILE/a/b} ${FILE/#a/b} ${FILE/%gz/xz}", "b.tbr.gz b.tar.gz b.tar.gz a.tar.xz"),
            ("$${GIVEN} $GIVEN $ $$ $$GIVEN", "${GIVEN} $GIVEN $ $$ $$GIVEN"),
            ("a\n# ${GIVEN}\n", "a\n# value\n"),
        ] {
            assert_eq!(with_variables(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_broken_form_is_named_with_its_line() {
        for (text, line, why) in [
            ("a\nb: ${GIVEN-d}\n", 2, "closing brace is missing"),
            ("${GIVEN", 1, "closing brace"),
            ("${GIVEN:-x\n}", 1, "closing brace"),
            ("\n\n${}", 3, "no name"),
            ("${GIVEN:x}", 1, "no number"),
        ] {
            let error = with_variables(text).unwrap_err();
            assert_eq!(error.line(), line, "{text}");
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(with_variables(&"${UNSET:-".repeat(1000)).is_err());
    }
}
