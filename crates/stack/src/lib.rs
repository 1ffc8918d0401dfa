//! Reads stack.yml as faas-cli does, and says what faas-cli would deploy.
//!
//! ```text
//! text -> substitute (${A:-d} …) -> yaml -> environment files, template.yml -> Stack -> deployments
//! ```
#![forbid(unsafe_code)]

mod error;
mod expand;
mod pattern;
mod read;
mod yaml;

pub use error::StackError;

use std::path::{Path, PathBuf};
use wire::function::{FunctionDeployment, Resources, TextMap};

/// A stack file, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stack {
    /// The file.
    pub path: PathBuf,
    /// `provider.gateway`, when given.
    pub gateway: Option<String>,
    /// The functions, by name.
    pub functions: Vec<Function>,
    /// Secrets that `crema up` makes at random where they are missing: `x-crema: {generate_secrets: [NAME]}`.
    pub generate_secrets: Vec<String>,
}

/// A function of a stack file. What is empty was not given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The template it is built with.
    pub lang: String,
    /// The folder of its source, as written.
    pub handler: PathBuf,
    /// The image it is built as and deployed from, with its tag written out.
    pub image: String,
    /// What runs instead of the image's command: the file's, else the template's.
    pub fprocess: String,
    /// Environment, with the environment files' on top.
    pub environment: TextMap,
    /// Names of secrets to mount.
    pub secrets: Vec<String>,
    /// Placement constraints.
    pub constraints: Vec<String>,
    /// Labels.
    pub labels: TextMap,
    /// Annotations.
    pub annotations: TextMap,
    /// Upper bounds of resources.
    pub limits: Option<Resources>,
    /// Resources set aside.
    pub requests: Option<Resources>,
    /// Whether the root file system is read-only.
    pub readonly_root_filesystem: bool,
    /// Whether the image comes from elsewhere.
    pub skip_build: bool,
    /// The namespace it is deployed to; empty for the default one.
    pub namespace: String,
    /// Arguments of the build.
    pub build_args: TextMap,
}

impl Stack {
    /// Reads a stack file; `variable` answers for the environment. Paths in it count from the working directory, as
    /// for faas-cli, or where nothing is there from the file's own folder.
    pub fn read(path: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Self, StackError> {
        read::stack(path, &variable)
    }

    /// The body faas-cli sends for each function.
    #[must_use]
    pub fn deployments(&self) -> Vec<FunctionDeployment> {
        self.functions.iter().map(Function::deployment).collect()
    }

    /// Where a path of the file is.
    #[must_use]
    pub fn locate(&self, path: &Path) -> PathBuf {
        read::locate(&self.path, path)
    }
}

impl Function {
    fn deployment(&self) -> FunctionDeployment {
        FunctionDeployment {
            service: self.name.clone(),
            image: self.image.clone(),
            namespace: self.namespace.clone(),
            env_process: self.fprocess.clone(),
            env_vars: self.environment.clone(),
            constraints: self.constraints.clone(),
            secrets: self.secrets.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            limits: self.limits.clone(),
            requests: self.requests.clone(),
            read_only_root_filesystem: self.readonly_root_filesystem,
        }
    }
}
