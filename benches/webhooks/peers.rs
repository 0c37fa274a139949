//! Gets the packages of the peers that are not Rust, under `target/bench-peers`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::apps::App;

/// Where a peer runs: its source and its packages.
pub fn directory(app: App) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/bench-peers")
        .join(app.key())
}

/// Brings the peer's packages, those of before if they are still there, and says which versions they are.
///
/// # Errors
/// Its language is not on this machine, or the packages cannot be had; the words are for people.
pub fn prepare(app: App) -> Result<String> {
    let target = directory(app);
    fs::create_dir_all(&target)?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/peers")
        .join(app.key());
    for file in fs::read_dir(&source)? {
        let file = file?;
        fs::copy(file.path(), target.join(file.file_name()))?;
    }
    match app {
        App::Node => {
            let node = run(&target, "node", &["--version"])?;
            run(
                &target,
                "npm",
                &["install", "--silent", "--no-audit", "--no-fund"],
            )?;
            let packages = run(
                &target,
                "npm",
                &["ls", "--depth=0", "--parseable", "--long"],
            )?;
            // Lines of path:name@version, the first of which is the folder itself.
            let named = packages
                .lines()
                .skip(1)
                .filter_map(|line| line.rsplit(':').next());
            Ok(format!(
                "Node {node}, {}",
                named.collect::<Vec<_>>().join(", ")
            ))
        }
        App::Python => {
            let python = run(&target, "python3", &["--version"])?;
            if !target.join("venv/bin/pip").exists() {
                run(&target, "python3", &["-m", "venv", "venv"])?;
            }
            let pip = [
                "install",
                "-q",
                "--disable-pip-version-check",
                "-r",
                "requirements.txt",
            ];
            run(&target, "venv/bin/pip", &pip)?;
            let packages = fs::read_to_string(target.join("requirements.txt"))?;
            Ok(format!(
                "{python}, {}",
                packages.trim().replace("==", " ").replace('\n', ", ")
            ))
        }
        App::Ours | App::New | App::Naive => Ok(String::new()),
    }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    // A program of the directory's own is named by its path there.
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
