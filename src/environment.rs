//! Removes variables from the process's environment that must have no effect.

use std::{
    env,
    ffi::OsStr,
    io::{Write, stderr},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    process::Command,
};

use anyhow::Context;

/// Removes empty variables, which count as unset (compose files make them), and PostgreSQL's `PG…` variables: an
/// address or an option in one of them would be mixed with `DATABASE_URL`, or would reach the embedded PostgreSQL.
///
/// If there is such a variable, the program executes itself again without it: a process cannot change its own
/// environment safely while other threads may read it.
///
/// # Errors
/// The program cannot be executed again.
pub fn clean() -> anyhow::Result<()> {
    let odd: Vec<_> = env::vars_os()
        .filter(|(name, value)| value.is_empty() || is_postgresqls(name))
        .map(|(name, _)| name)
        .collect();
    if odd.is_empty() {
        return Ok(());
    }
    let ignored: Vec<_> = odd.iter().filter(|name| is_postgresqls(name)).collect();
    if !ignored.is_empty() {
        // Warn: a connection that such a variable was meant to protect by verification would continue without it.
        let names: Vec<_> = ignored.iter().map(|name| name.to_string_lossy()).collect();
        let _ = writeln!(
            stderr(),
            "{} in the environment {} no effect: write what is meant into DATABASE_URL",
            names.join(", "),
            if names.len() == 1 { "has" } else { "have" }
        );
    }
    let mut args = env::args_os();
    let name = args.next().unwrap_or_default();
    // On Linux `current_exe` reads /proc, which a container may lack. The name that the program was called by leads to
    // it as well.
    let path = env::current_exe().unwrap_or_else(|_| name.clone().into());
    let mut program = Command::new(&path);
    program.arg0(name).args(args);
    for name in &odd {
        program.env_remove(name);
    }
    let error = program.exec();
    let names: Vec<_> = odd.iter().map(|name| name.to_string_lossy()).collect();
    Err(error).with_context(|| {
        format!(
            "this program cannot be executed once more as {}, which takes {} away from its environment: unset them, or call \
             the program by its whole path",
            path.display(),
            names.join(", ")
        )
    })
}

fn is_postgresqls(name: &OsStr) -> bool {
    let upper = |byte: &u8| byte.is_ascii_uppercase();
    let rest = name.as_bytes().strip_prefix(b"PG");
    rest.is_some_and(|rest| rest.first().is_some_and(upper))
}
