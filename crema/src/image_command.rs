//! `crema image`: the images of the store, by hand. A running platform may use the store at the same time.

mod output;

use crate::build::{self, Pack, PlatformImages, terminal_size};
use crate::cli::stack_file;
use crate::terminal;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use daemon::state_dir::{self, StateDir, StateDirError};
use daemon::{Env, ProcessEnv};
use image::Store;
use stack::Stack;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use wire::image_reference::ImageReference;

/// Arguments of `crema image`.
#[derive(Args, Clone, Debug)]
pub struct ImageCommand {
    /// The state directory whose images are meant
    /// [default: $XDG_STATE_HOME/crema, as root /var/lib/crema]
    #[arg(long, value_name = "DIR", env = "CREMA_STATE", global = true)]
    pub state: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with images.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Build the functions of stack.yml, or the whole platform for a cluster, or pack one binary
    Build(Box<Build>),
    /// List the images
    #[command(visible_alias = "list")]
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how an image runs, as JSON
    Inspect {
        /// The image, like ghcr.io/owner/name:1.0.0
        #[arg(value_name = "NAME")]
        reference: ImageReference,
    },
    /// Take the images of an OCI or Docker archive (of skopeo, podman, ctr or docker) into the store
    Import {
        /// The archive, compressed or not; - is standard input
        #[arg(value_name = "FILE")]
        archive: PathBuf,
        /// What to call its image, when the archive does not say or says otherwise
        #[arg(long, value_name = "NAME")]
        name: Option<ImageReference>,
    },
    /// Write images as one archive that skopeo, podman, ctr and docker load
    Export {
        /// The archive to write; - is standard output
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        output: PathBuf,
        /// The images
        #[arg(value_name = "NAME", required = true)]
        references: Vec<ImageReference>,
    },
    /// Remove images, and free what only they used
    #[command(visible_alias = "remove")]
    Rm {
        /// The images
        #[arg(value_name = "NAME", required = true)]
        references: Vec<ImageReference>,
    },
}

/// Arguments of `crema image build`.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("packed").args(["binary", "platform_images"]))]
pub struct Build {
    /// The functions to build [default: stack.yaml or stack.yml, as faas-cli]
    #[arg(short = 'f', long = "file", value_name = "stack.yml", env = "CREMA_STACK")]
    pub stack: Option<PathBuf>,

    /// Pack this binary instead: a function of the SDK or Crema's watchdog, best linked statically
    #[arg(value_name = "BINARY", requires = "tag")]
    pub binary: Option<PathBuf>,

    /// What to call the packed image; with --platform-images the tag of all images [default: Crema's version]
    #[arg(short = 't', long, value_name = "NAME", requires = "packed")]
    pub tag: Option<String>,

    /// A variable of the packed image's environment
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE", requires = "binary", value_parser = pair)]
    pub env: Vec<(String, String)>,

    /// A label of the packed image
    #[arg(short = 'l', long = "label", value_name = "NAME=VALUE", requires = "binary", value_parser = pair)]
    pub labels: Vec<(String, String)>,

    /// Build everything a cluster runs, from Crema's source: gateway, operator, broker, connectors and the functions of
    /// stack.yml, each as an image FROM scratch; also as archives that K3s, ctr and docker load
    #[arg(long, conflicts_with = "binary")]
    pub platform_images: bool,

    /// A machine to build for, like aarch64-unknown-linux-gnu; may be given several times [default: this one]
    #[arg(long = "target", value_name = "TRIPLE", requires = "platform_images")]
    pub targets: Vec<String>,

    /// The folder of the archives and their list, images.lock [default: target/images]
    #[arg(short = 'o', long, value_name = "DIR", requires = "platform_images")]
    pub output: Option<PathBuf>,

    /// What stands before the names of the platform's images
    #[arg(long, value_name = "PREFIX", requires = "platform_images", default_value = "docker.io/crema")]
    pub registry: String,

    /// cargo's profile for all; dev builds fast and makes large images [default: release, functions: function]
    #[arg(long, value_name = "NAME", requires = "platform_images")]
    pub profile: Option<String>,
}

impl ImageCommand {
    /// Does it in the state directory its arguments name.
    pub fn run(&self) -> anyhow::Result<()> {
        let path = self.state.clone().map_or_else(|| state_dir::default_path(&ProcessEnv), Ok)?;
        // A platform that runs has the directory; the store is made to be shared.
        let images = match StateDir::open(&path) {
            Ok(state) => state.join("images"),
            Err(StateDirError::InUse { path, .. }) => path.join("images"),
            Err(error) => return Err(error.into()),
        };
        self.action.run(&Store::open(images)?, &mut io::stdout().lock())
    }
}

impl Action {
    /// Does it in a store; what was asked for is written to `out`.
    pub fn run(&self, store: &Store, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Build(build) => build.run(store),
            Self::Ls { json } => output::list(&store.list()?, *json, out),
            Self::Inspect { reference } => output::inspect(&store.get(reference)?, out),
            Self::Import { archive, name } => import(store, archive, name.as_ref()),
            Self::Export { output, references } => export(store, output, references, out),
            Self::Rm { references } => remove(store, references),
        }
    }
}

impl Build {
    fn run(&self, store: &Store) -> anyhow::Result<()> {
        let (Some(binary), Some(tag)) = (&self.binary, &self.tag) else {
            return self.build(store);
        };
        let tag: &ImageReference = &tag.parse()?;
        check_program(binary)?;
        let pack = self.env.iter().fold(Pack::function(binary), |pack, (name, value)| pack.env(name, value));
        let pack = self.labels.iter().fold(pack, |pack, (name, value)| pack.label(name, value));
        let (image, changed) = pack.store(store, tag)?;
        let done = if changed { "packed" } else { "unchanged" };
        terminal::say(format_args!("{tag}: {done}, {}, {}", terminal_size(image.size), image.digest));
        Ok(())
    }

    fn build(&self, store: &Store) -> anyhow::Result<()> {
        let stack = Stack::read(&stack_file(self.stack.as_deref()), |name| ProcessEnv.get(name))?;
        if !self.platform_images {
            build::functions(&stack, store, &ProcessEnv)?;
            return Ok(());
        }
        let images = PlatformImages {
            targets: self.targets.clone(),
            output: self.output.clone(),
            tag: self.tag.clone(),
            registry: self.registry.clone(),
            profile: self.profile.clone(),
        };
        let lock = images.build(&stack, store, &ProcessEnv)?;
        terminal::say(format_args!("What is where: {}", lock.display()));
        Ok(())
    }
}

fn import(store: &Store, archive: &Path, name: Option<&ImageReference>) -> anyhow::Result<()> {
    let reader: Box<dyn Read> = match archive.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?),
    };
    let images = store.import(reader, name).with_context(|| format!("cannot import {}", archive.display()))?;
    for image in images {
        terminal::say(format_args!("{}: imported, {}, {}", image.reference, terminal_size(image.size), image.digest));
    }
    Ok(())
}

fn export(store: &Store, output: &Path, references: &[ImageReference], out: &mut dyn Write) -> anyhow::Result<()> {
    if output == Path::new("-") {
        return Ok(store.export(references, out)?);
    }
    let place = || format!("cannot write {}", output.display());
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut whole = NewFile::create(folder, output).with_context(place)?;
    store.export(references, io::BufWriter::with_capacity(128 * 1024, &mut whole.file))?;
    whole.keep().with_context(place)
}

fn remove(store: &Store, references: &[ImageReference]) -> anyhow::Result<()> {
    for reference in references {
        let removed = store.remove(reference)?;
        terminal::say(format_args!("{reference}: removed, {} freed", terminal_size(removed.bytes)));
    }
    Ok(())
}

/// Says early what would fail only when the function starts.
fn check_program(binary: &Path) -> anyhow::Result<()> {
    let mut start = Vec::new();
    let file = File::open(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    if file.metadata()?.is_dir() {
        bail!("{} is a directory; name the binary in it", binary.display());
    }
    file.take(4096).read_to_end(&mut start).with_context(|| format!("cannot read {}", binary.display()))?;
    if !start.starts_with(b"\x7fELF") {
        bail!("{} is no Linux program", binary.display());
    }
    if build::is_dynamic(&start) {
        let advice = "it runs only where its libraries are; \
                      RUSTFLAGS=\"-C target-feature=+crt-static\" and --target link them in";
        terminal::say(format_args!("warning: {} is not linked statically: {advice}", binary.display()));
    }
    Ok(())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// A file that appears under its name only when it is whole.
struct NewFile {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
    kept: bool,
}

impl NewFile {
    fn create(folder: &Path, place: &Path) -> io::Result<Self> {
        let name = place.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let temporary = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = File::create(&temporary)?;
        Ok(Self { file, temporary, place: place.to_owned(), kept: false })
    }

    fn keep(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, &self.place)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            std::fs::remove_file(&self.temporary).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
