//! Installs the packages of the peers that are not written in Rust, under `target/bench-peers`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::apps::App;

/// The directory in which a peer runs: its source and its packages.
pub fn directory(app: App) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/bench-peers")
        .join(app.key())
}

/// Installs the peer's packages, or reuses the installed ones. Returns their versions; `None` for an app in Rust.
///
/// # Errors
/// If the peer's language is not installed, or the packages cannot be installed. The message is written for people.
pub fn prepare(app: App) -> Result<Option<String>> {
    let version = match app {
        App::Node => node(&source_in_place(app)?)?,
        App::Python => python(&source_in_place(app)?)?,
        App::Ours | App::New | App::Sealed | App::Null | App::Naive => return Ok(None),
    };
    Ok(Some(version))
}

fn source_in_place(app: App) -> Result<PathBuf> {
    let target = directory(app);
    fs::create_dir_all(&target)?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/peers")
        .join(app.key());
    for file in fs::read_dir(&source)? {
        let file = file?;
        fs::copy(file.path(), target.join(file.file_name()))?;
    }
    Ok(target)
}

fn node(directory: &Path) -> Result<String> {
    let node = run(directory, "node", &["--version"])?;
    run(
        directory,
        "npm",
        &["install", "--silent", "--no-audit", "--no-fund"],
    )?;
    let packages = run(
        directory,
        "npm",
        &["ls", "--depth=0", "--parseable", "--long"],
    )?;
    // Lines of path:name@version; the first one is the folder itself.
    let named: Vec<&str> = packages
        .lines()
        .skip(1)
        .filter_map(|line| line.rsplit(':').next())
        .collect();
    Ok(format!("Node {node}, {}", named.join(", ")))
}

fn python(directory: &Path) -> Result<String> {
    let python = run(directory, "python3", &["--version"])?;
    if !directory.join("venv/bin/pip").exists() {
        run(directory, "python3", &["-m", "venv", "venv"])?;
    }
    let pip = [
        "install",
        "-q",
        "--disable-pip-version-check",
        "-r",
        "requirements.txt",
    ];
    run(directory, "venv/bin/pip", &pip)?;
    let packages = fs::read_to_string(directory.join("requirements.txt"))?;
    let packages = packages.trim().replace("==", " ").replace('\n', ", ");
    Ok(format!("{python}, {packages}"))
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    // A path to a program is relative to the directory.
    let path = if program.contains('/') {
        directory.join(program)
    } else {
        program.into()
    };
    let output = Command::new(path)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} is not on this machine"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
