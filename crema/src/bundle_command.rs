//! `crema bundle`: all a K3s store needs as one archive, made here and put in place there.

mod say;

use anyhow::{Context, bail};
use bundle::{BundleError, Chart, DATA_DIR, Installer, Options, Root, SecretToMake, SigningKey, Source, VerifyKey};
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `crema bundle`.
#[derive(Args, Clone, Debug)]
pub struct BundleCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with bundles.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Make an archive of images and manifests for a store without a link
    #[command(after_help = AFTER_CREATE)]
    Create(Box<Create>),
    /// Read an archive whole and say what is in it, or what is wrong with it
    Verify {
        /// The archive
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Refuse it unless the owner of this public key signed it
        #[arg(long, value_name = "FILE")]
        verify_key: Option<PathBuf>,
    },
    /// Put an archive in place for K3s, all of it or nothing; the same again changes nothing
    #[command(after_help = AFTER_INSTALL)]
    Install {
        /// The archive
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where
        #[command(flatten)]
        place: Place,
        /// Refuse it unless the owner of this public key signed it
        #[arg(long, value_name = "FILE")]
        verify_key: Option<PathBuf>,
        /// Check everything, say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Replace files of the same names that no bundle put there
        #[arg(long)]
        replace: bool,
    },
    /// Put back the version before; again, and the newer one is back
    Rollback {
        /// Where
        #[command(flatten)]
        place: Place,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say which version is in place, and which files are not as it has them
    Status {
        /// Where
        #[command(flatten)]
        place: Place,
    },
    /// Make a pair of keys, NAME.key to sign with and NAME.pub to check with
    Keygen {
        /// What to call them
        #[arg(short = 'o', long = "output", value_name = "NAME", default_value = "crema-bundle")]
        output: PathBuf,
    },
}

/// Arguments of `crema bundle create`.
#[derive(Args, Clone, Debug)]
pub struct Create {
    /// The archive to write
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: PathBuf,

    /// Its version [default: the tag that all images of --images have]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,

    /// A folder that `crema image build --platform-images` wrote: what its images.lock lists
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// Of these only the images for one platform, like linux/arm64
    #[arg(long, value_name = "PLATFORM", requires = "images")]
    pub platform: Option<String>,

    /// One more archive of images, as K3s takes it (.tar, .tar.gz, .tar.zst …); may be given several times
    #[arg(long = "archive", value_name = "FILE")]
    pub archives: Vec<PathBuf>,

    /// A manifest, or a folder of them; may be given several times
    #[arg(long = "manifests", value_name = "PATH")]
    pub manifests: Vec<PathBuf>,

    /// Crema's chart, to be rendered by helm; secrets it makes at random are left to each store
    #[arg(long, value_name = "DIR")]
    pub chart: Option<PathBuf>,

    /// A file of values for the chart; may be given several times
    #[arg(long = "values", value_name = "FILE", requires = "chart")]
    pub values: Vec<PathBuf>,

    /// A value for the chart; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "chart")]
    pub set: Vec<String>,

    /// The namespace of the platform
    #[arg(long, value_name = "NAME", requires = "chart", default_value = "openfaas")]
    pub namespace: String,

    /// The program that renders the chart
    #[arg(long, value_name = "PROGRAM", requires = "chart", default_value = "helm")]
    pub helm: PathBuf,

    /// A secret that each store makes for itself and keeps: a key without a value gets a random one, like
    /// openfaas/basic-auth:basic-auth-user=admin,basic-auth-password; may be given several times
    #[arg(long = "secret", value_name = "NAMESPACE/NAME:KEY,KEY=VALUE")]
    pub secrets: Vec<SecretToMake>,

    /// Sign it with this private key
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
}

/// Where K3s is.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The root of the file system K3s runs on: / on the box itself, or where its disk is mounted
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,

    /// K3s' data directory below the root (its --data-dir)
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
}

impl Place {
    fn installer(&self) -> Result<Installer, BundleError> {
        Ok(Installer::new(Root::open(&self.root, &self.data_dir)?))
    }
}

impl BundleCommand {
    /// Does it; what was done is written to `out`.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        match &self.action {
            Action::Create(create) => create.run(out),
            Action::Verify { file, verify_key } => {
                let contents = bundle::verify(file, key(verify_key.as_deref())?.as_ref())?;
                say::contents(file, &contents, out)
            }
            Action::Install { file, place, verify_key, dry_run, replace } => {
                let key = key(verify_key.as_deref())?;
                let options = Options { key, dry_run: *dry_run, replace: *replace };
                let report = place.installer()?.install(file, &options)?;
                say::report(&report, "installed", *dry_run, out)
            }
            Action::Rollback { place, dry_run } => {
                let report = place.installer()?.rollback(*dry_run)?;
                say::report(&report, "put back", *dry_run, out)
            }
            Action::Status { place } => {
                let status = place.installer()?.status()?;
                say::status(&status, out)?;
                if status.unfinished.is_some() || !status.differing.is_empty() {
                    bail!("what is in place is not whole; `crema bundle install` of the same archive mends it");
                }
                Ok(())
            }
            Action::Keygen { output } => keygen(output, out),
        }
    }
}

impl Create {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let chart = self.chart.as_ref().map(|folder| Chart {
            folder: folder.clone(),
            helm: self.helm.clone(),
            name: "crema".to_owned(),
            namespace: self.namespace.clone(),
            values: self.values.clone(),
            set: self.set.clone(),
        });
        let source = Source {
            version: self.version.clone(),
            images: self.images.clone(),
            platform: self.platform.clone(),
            archives: self.archives.clone(),
            chart,
            manifests: self.manifests.clone(),
            secrets: self.secrets.clone(),
            key: self.sign_key.as_deref().map(SigningKey::read).transpose()?,
        };
        let created = source.write(&self.output)?;
        say::created(&self.output, &created, out)
    }
}

fn key(path: Option<&Path>) -> Result<Option<VerifyKey>, BundleError> {
    path.map(VerifyKey::read).transpose()
}

fn keygen(output: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let name = output.file_name().with_context(|| format!("{} names no file", output.display()))?;
    let with = |end: &str| {
        let mut name = name.to_owned();
        name.push(end);
        output.with_file_name(name)
    };
    let (private, public) = (with(".key"), with(".pub"));
    bundle::generate(&private, &public)?;
    writeln!(out, "{}: sign with it (--sign-key), and keep it to yourself", private.display())?;
    Ok(writeln!(out, "{}: goes to every store (--verify-key)", public.display())?)
}

const AFTER_CREATE: &str = "\
Example:
  crema image build --platform-images --output images
  crema bundle create --images images --chart chart --manifests functions.yaml --sign-key crema-bundle.key -o crema.tar

An archive of images goes to agent/images as 10-crema-NAME, one of --archive as 20-NAME, or under its own name where that
begins with a digit. Manifests go to server/manifests as crema-NAME. `tar tf` shows what is inside; the signature is one of
openssl's Ed25519 over SHA256SUMS.";

const AFTER_INSTALL: &str = "\
The archive is checked whole before anything is changed. Images come first, then manifests, then what the version before had
and this one has not goes. K3s takes both while it runs; before 1.32 it takes images at its start. K3s deletes no objects
when a manifest goes: what is said names the command.

Interrupted, the same command again finishes; `crema bundle rollback` goes back instead.";

#[cfg(test)]
mod tests;
