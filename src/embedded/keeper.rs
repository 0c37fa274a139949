//! Stops PostgreSQL, and starts it again if it has died, after this process has given up root, and with it the right to
//! act as PostgreSQL's account.

use std::{io, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    time::{Instant, sleep},
};

use super::{
    EmbeddedError,
    cluster::Cluster,
    progress::last,
    server::{GRACE, Started},
};

/// Script of a shell that runs as PostgreSQL's account. It reads one command a line and answers each with a line: `ok`,
/// `starting` for a server that recovers, `held` if a remnant of the server that has died is in the way, or why it
/// failed. When its input ends, because this process is gone, it ends and leaves the server running: the next process
/// adopts it.
const KEEPER: &str = r#"
trap '' HUP INT TERM
while read -r word; do
    case "$word" in
    stop)
        said=$("$1" stop -D "$2" -w -m fast 2>&1) && said=ok
        # A server that has died needs no stop: 3 says that none runs.
        "$1" status -D "$2" >/dev/null 2>&1
        [ $? = 3 ] && said=ok ;;
    # The server keeps inherited files open, so it gets none of the pipes. A recovery goes on after these seconds, and a
    # stop of the service does not wait for its end.
    start)
        if "$1" start -D "$2" -w -t 5 -l "$3" </dev/null >/dev/null 2>&1; then
            said=ok
        else
            # Looked at before `status`, which takes a zombie for a server that runs.
            said=
            while read -r line; do said=$line; done <"$3"
            case "$said" in
            *"lock file"*"already exists"* | *"shared memory block"*) said=held ;;
            *) "$1" status -D "$2" >/dev/null 2>&1 && said=starting || said="its log says why" ;;
            esac
        fi ;;
    *) said="unknown command" ;;
    esac
    printf '%s' "$said" | tr '\n' ' '
    echo
done
"#;

const START: &str = "pg_ctl start";
const STOP: &str = "pg_ctl stop";

/// Pause between two starts while a remnant of the server that has died is in the way.
const HELD_PAUSE: Duration = Duration::from_millis(200);

/// The running shell. It lives as long as this value.
#[derive(Debug)]
pub(super) struct Keeper {
    shell: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Commands whose answers have not been read: a caller may be dropped while it waits.
    unanswered: u32,
}

impl Keeper {
    /// Starts the shell. Call it before this process gives up root, or as PostgreSQL's account.
    pub(super) fn start(cluster: &Cluster) -> Result<Self, EmbeddedError> {
        let data = cluster.base.work_dir("data")?;
        let mut command = cluster.owner().command("/bin/sh");
        command
            .args(["-c", KEEPER, "sh"])
            .arg(cluster.binaries.dir.join("pg_ctl"))
            .arg(&data.name)
            .arg(cluster.log_beside_data()?.join("start.log"))
            .current_dir(&data.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        cluster.owner().leave_process_group(&mut command);
        let spawned = command.spawn().and_then(|mut shell| {
            let pipes = shell.stdin.take().zip(shell.stdout.take());
            let (to, from) = pipes.ok_or_else(|| io::Error::other("it has no pipes"))?;
            Ok(Self {
                shell,
                to,
                from: BufReader::new(from),
                unanswered: 0,
            })
        });
        spawned.map_err(EmbeddedError::file("/bin/sh"))
    }

    /// Starts the server again. The processes of a killed server may hold its memory and its files for a moment; until
    /// they have ended, the start is tried again.
    pub(super) async fn start_again(&mut self) -> Result<Started, EmbeddedError> {
        let deadline = Instant::now() + GRACE;
        loop {
            let said = self.tell("start").await?;
            match &*said {
                "ok" => return Ok(Started::Ready),
                "starting" => return Ok(Started::StillStarting),
                "held" if Instant::now() < deadline => sleep(HELD_PAUSE).await,
                "held" => return Err(failed(START, "processes of the one that has died remain")),
                said => return Err(failed(START, said)),
            }
        }
    }

    /// Stops the server, and then the shell.
    pub(super) async fn stop(mut self) -> Result<(), EmbeddedError> {
        let stopped = match self.tell("stop").await {
            Ok(said) if said != "ok" => Err(failed(STOP, &said)),
            stopped => stopped.map(drop),
        };
        // This ends the shell's input, and so the shell.
        drop(self.to);
        let _ = self.shell.wait().await;
        stopped
    }

    async fn tell(&mut self, word: &str) -> Result<String, EmbeddedError> {
        let answer = self.ask(word).await;
        let answer = answer.map_err(EmbeddedError::file("/bin/sh"))?;
        Ok(answer.trim().to_owned())
    }

    /// The shell's answer to `word`; answers to earlier words are skipped.
    async fn ask(&mut self, word: &str) -> io::Result<String> {
        self.unanswered += 1;
        self.to.write_all(format!("{word}\n").as_bytes()).await?;
        let mut answer = String::new();
        while self.unanswered > 0 {
            answer.clear();
            self.from.read_line(&mut answer).await?;
            self.unanswered -= 1;
        }
        Ok(answer)
    }
}

fn failed(program: &'static str, said: &str) -> EmbeddedError {
    let said = last(said);
    EmbeddedError::Failed { program, said }
}
