//! The chart's custom resource definitions are those of the types.

use std::fs;
use std::path::{Path, PathBuf};

/// Set to write them.
const WRITE: &str = "CRDS";

fn file(plural: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chart/crds").join(format!("{plural}.yaml"))
}

#[test]
fn the_chart_carries_the_definitions_of_the_types() {
    for definition in kubernetes::definitions() {
        let mut wanted = serde_saphyr::to_string(&definition).unwrap();
        if !wanted.ends_with('\n') {
            wanted.push('\n');
        }
        let file = file(&definition.spec.names.plural);
        #[allow(clippy::disallowed_methods, reason = "a switch of this test")]
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &wanted).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap_or_default();
        let command = "CRDS=write cargo test -p kubernetes --test definitions";
        assert!(written == wanted, "{} is not what the types say: {command}", file.display());
    }
}
