//! A balancer in front of PostgreSQL, whose connections can hang: they stay open, and nothing passes any more.

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    sync::watch,
};

/// The balancer. It ends with the test's runtime.
pub struct Balancer {
    _dir: TempDir,
    hung: watch::Sender<u32>,
}

impl Balancer {
    /// A balancer before the server of `database`, which listens on a Unix socket, and the options to connect through it.
    pub fn before(database: &PgConnectOptions) -> anyhow::Result<(Self, PgConnectOptions)> {
        let dir = TempDir::new()?;
        let name = format!(".s.PGSQL.{}", database.get_port());
        let server = database.get_socket().expect("a socket").join(&name);
        let listener = UnixListener::bind(dir.path().join(&name))?;
        let (hung, hangs) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut hangs) = (server.clone(), hangs.clone());
                hangs.mark_unchanged();
                tokio::spawn(async move {
                    let mut server = UnixStream::connect(server).await?;
                    tokio::select! {
                        ended = copy_bidirectional(&mut client, &mut server) => ended.map(drop),
                        // Both ends stay open.
                        _ = hangs.changed() => std::future::pending().await,
                    }
                });
            }
        });
        let options = database.clone().socket(dir.path());
        Ok((Self { _dir: dir, hung }, options))
    }

    /// The connections that are open now pass nothing any more; new ones do.
    pub fn hang(&self) {
        self.hung.send_modify(|times| *times += 1);
    }
}
