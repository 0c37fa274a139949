//! Stops PostgreSQL after this process has given up root, and with it the right to signal the processes of PostgreSQL's
//! account.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Child,
};

use super::{EmbeddedError, cluster::Cluster, progress::last};

/// Script of a shell that runs as PostgreSQL's account. It reads one command a line and answers each with a line: `ok`,
/// or the output of `pg_ctl`. When its input ends, because this process is gone, it ends and leaves the server running:
/// the next process adopts it.
const KEEPER: &str = r#"
trap '' HUP INT TERM
while read -r word; do
    case "$word" in
    stop) said=$("$1" stop -D "$2" -w -m fast 2>&1) && said=ok ;;
    *) said="unknown word" ;;
    esac
    printf '%s' "$said" | tr '\n' ' '
    echo
done
"#;

/// The running shell. It lives as long as this value.
#[derive(Debug)]
pub(super) struct Keeper(Child);

impl Keeper {
    /// Starts the shell. This process has to be root still, or PostgreSQL's account.
    pub(super) fn start(cluster: &Cluster) -> Result<Self, EmbeddedError> {
        let data = cluster.base.work_dir("data")?;
        let mut command = cluster.owner().command("/bin/sh");
        command
            .args(["-c", KEEPER, "sh"])
            .arg(cluster.binaries.dir.join("pg_ctl"))
            .arg(&data.name)
            .current_dir(&data.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        cluster.owner().leave_process_group(&mut command);
        let shell = command.spawn().map_err(EmbeddedError::file("/bin/sh"))?;
        Ok(Self(shell))
    }

    /// Stops the server, and then the shell.
    pub(super) async fn stop(mut self) -> Result<(), EmbeddedError> {
        let told = self.tell("stop").await;
        let answer = told.map_err(EmbeddedError::file("/bin/sh"))?;
        // This ends the shell's input, and so the shell.
        drop(self.0.stdin.take());
        let _ = self.0.wait().await;
        match answer.trim() {
            "ok" => Ok(()),
            said => Err(EmbeddedError::Failed {
                program: "pg_ctl stop",
                said: last(said),
            }),
        }
    }

    async fn tell(&mut self, word: &str) -> std::io::Result<String> {
        let mut answer = String::new();
        if let (Some(to), Some(from)) = (&mut self.0.stdin, &mut self.0.stdout) {
            to.write_all(format!("{word}\n").as_bytes()).await?;
            BufReader::new(from).read_line(&mut answer).await?;
        }
        Ok(answer)
    }
}
