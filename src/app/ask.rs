//! Reads secrets and passwords: at a terminal without echo, else from standard input, one line each.

use std::io::{BufRead, ErrorKind, IsTerminal, Write, stderr, stdin};

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

/// Whether there is somebody to ask.
pub fn at_terminal() -> bool {
    stdin().is_terminal()
}

/// A secret; empty if nothing was typed, or standard input has ended.
///
/// # Errors
/// It cannot be read.
pub fn secret(prompt: &str) -> anyhow::Result<SecretString> {
    let answer = match at_terminal() {
        true => typed(prompt)?,
        false => line()?,
    };
    Ok(answer.trim().to_owned().into())
}

/// A new password. At a terminal it is asked for twice, because nobody sees what was typed.
///
/// # Errors
/// It cannot be read, or was not typed the same way twice.
pub fn new_password() -> anyhow::Result<String> {
    if !at_terminal() {
        return line();
    }
    let password = typed("Password: ")?;
    ensure!(
        password == typed("The same password again: ")?,
        "the two passwords differ: nothing was changed"
    );
    Ok(password)
}

fn typed(prompt: &str) -> anyhow::Result<String> {
    // rpassword makes a signal of Ctrl-C before it gives the terminal its echo back, so the signal must not end the process.
    let _interrupt = signal(SignalKind::interrupt()).context("signals cannot be listened for")?;
    let typed = rpassword::prompt_password(prompt);
    if let Err(error) = &typed
        && [ErrorKind::Interrupted, ErrorKind::UnexpectedEof].contains(&error.kind())
    {
        // The next words begin a line of their own.
        let _ = writeln!(stderr());
        bail!("nothing was typed, and nothing was changed");
    }
    typed.context("the terminal cannot be asked")
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    read.context("standard input cannot be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
