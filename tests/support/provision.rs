//! A Chromium and its driver: installed on this machine, or installed with apt-get.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, anyhow, bail};
use line_chat_archive::embedded::may_install;

#[derive(Clone, Debug)]
pub struct Programs {
    pub chromium: PathBuf,
    pub driver: PathBuf,
}

/// Installs Chromium, its driver, and fonts for every script that appears in the tests.
const BRING: &str = "
set -e
export DEBIAN_FRONTEND=noninteractive
packages='chromium chromium-driver fonts-noto-cjk fonts-thai-tlwg fonts-noto-color-emoji'
fetch() { apt-get install -qy --no-install-recommends -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 $packages; }
fetch || { apt-get update -q && fetch; }
";

/// The programs, installed once for each test process if the machine has none.
pub fn programs() -> Result<Programs> {
    static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
    let found =
        PROGRAMS.get_or_init(|| find().map_or_else(|| bring().map_err(|e| format!("{e:#}")), Ok));
    found.clone().map_err(|e| anyhow!(e))
}

fn find() -> Option<Programs> {
    let chromium = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find_map(in_path)?;
    Some(Programs {
        chromium,
        driver: in_path("chromedriver")?,
    })
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

fn bring() -> Result<Programs> {
    let by_hand = "the browser tests need Chromium and its driver: apt-get install chromium chromium-driver \
                   fonts-noto-cjk fonts-thai-tlwg fonts-noto-color-emoji";
    if !rustix::process::geteuid().is_root() || in_path("apt-get").is_none() {
        bail!("{by_hand}");
    }
    if !may_install("BRING_TOOLS") {
        bail!("BRING_TOOLS refuses to install it; {by_hand}");
    }
    // Written directly to stderr, past the test runner's capture, because this takes a while.
    writeln!(
        io::stderr(),
        "no Chromium on this machine: installing it, its driver and fonts with apt-get, about 250 MB. BRING_TOOLS=no in \
         the environment refuses this …"
    )?;
    let status = Command::new("/bin/sh")
        .args(["-c", BRING])
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .context(by_hand)?;
    find().with_context(|| format!("apt-get ended with {status}; {by_hand}"))
}
