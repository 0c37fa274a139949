//! Reads secrets and passwords: at a terminal without echo, else from standard input, one line each.

use std::io::{BufRead, ErrorKind, IsTerminal, Write, stderr, stdin};

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use crate::web::password;

/// True if standard input is a terminal, so that a person can be asked.
pub fn at_terminal() -> bool {
    stdin().is_terminal()
}

/// Reads answers from standard input at once if it is not a terminal. At a terminal it returns `None`, and the caller
/// asks after it has checked in the database that the answers can be used.
///
/// A pipe is read before the database is opened, because a process that has it open does not end at the first SIGTERM
/// while it waits for input.
///
/// # Errors
/// The errors of `read`.
pub fn if_piped<T>(read: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match at_terminal() {
        true => Ok(None),
        false => read().map(Some),
    }
}

/// Reads a secret. It is empty if nothing was typed, or standard input has ended.
///
/// # Errors
/// The terminal or standard input cannot be read, or the prompt was interrupted.
pub fn secret(prompt: &str) -> anyhow::Result<SecretString> {
    let answer = match at_terminal() {
        true => typed(prompt)?,
        false => line()?,
    };
    Ok(answer.trim().to_owned().into())
}

/// Reads a new password. At a terminal it is asked for twice, because the terminal does not show the typed characters.
///
/// # Errors
/// The terminal or standard input cannot be read, standard input is empty, the password is too short or too long, or the
/// two inputs differ.
pub fn new_password() -> anyhow::Result<String> {
    if !at_terminal() {
        let password = line()?;
        ensure!(
            !password.is_empty(),
            "no password was given, and nothing was changed: write it to standard input, as one line"
        );
        return Ok(password);
    }
    let password = typed("Password: ")?;
    // A password that is refused is not asked for a second time.
    password::check_length(&password)?;
    ensure!(
        password == typed("The same password again: ")?,
        "the two passwords differ: nothing was changed"
    );
    Ok(password)
}

fn typed(prompt: &str) -> anyhow::Result<String> {
    // On Ctrl-C rpassword raises a signal before it restores the terminal's echo, so the signal must not end the
    // process.
    let _interrupt = signal(SignalKind::interrupt()).context("signals cannot be listened for")?;
    let typed = rpassword::prompt_password(prompt);
    if let Err(error) = &typed
        && [ErrorKind::Interrupted, ErrorKind::UnexpectedEof].contains(&error.kind())
    {
        // The error message begins on a new line.
        let _ = writeln!(stderr());
        bail!("the prompt was interrupted, and nothing was changed");
    }
    typed.context("the terminal cannot be read")
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    read.context("standard input cannot be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
