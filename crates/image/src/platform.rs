//! Which of an image's platforms is this machine's.

use crate::document::Platform;
use std::fmt;

impl Platform {
    /// This machine's, in the image format's words.
    pub(crate) fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: String::new() }
    }

    /// Whether an image for this platform runs on `machine`; what is left open fits.
    pub(crate) fn fits(&self, machine: &Self) -> bool {
        let fits = |offered: &str, wanted: &str| offered.is_empty() || offered == wanted;
        fits(&self.architecture, &machine.architecture) && fits(&self.os, &machine.os)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        write!(formatter, "{}/{}", known(&self.os), known(&self.architecture))?;
        if self.variant.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.variant) }
    }
}
