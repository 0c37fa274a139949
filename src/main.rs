//! The command line.

mod environment;

use std::{
    io::{Write, stderr, stdout},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use clap::{Parser, Subcommand, ValueEnum};
use line_chat_archive::{
    app::{self, privileges},
    config::{Credentials, Places, Serve, listen},
    media::LARGEST_MIB,
    telemetry,
};

/// Gives memory back to the system after a flood of connections. The C library's allocator kept 179 MiB, of which 38 were in
/// use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An archive for the chats of LINE Official Accounts.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run with everything embedded and a pretend LINE Platform that keeps writing, sending and unsending
    Demo {
        /// Address to listen on; if it is taken, a free port is found
        #[arg(long, env = "LISTEN", value_parser = listen, default_value = "127.0.0.1:8080")]
        listen: std::net::SocketAddr,
    },
    /// Run the service
    Serve(Box<Serve>),
    /// Bring the database to the schema of this version, and end
    Migrate,
    /// Channels: LINE Official Accounts that are archived
    #[command(subcommand)]
    Channel(Channel),
    /// Operators: people who may sign in to the dashboard
    #[command(subcommand)]
    Operator(Operator),
    /// List operators and channels that this program did not write: after a restore of a version without row codes, or
    /// because somebody has written to the database
    Attest {
        /// Believe them as they are in the database
        #[arg(long)]
        accept: bool,
    },
    /// Erasures: what was unsent
    #[command(subcommand)]
    Erasures(Erasures),
    /// The secret key
    #[command(subcommand)]
    Keys(Keys),
    /// Look whether everything is set as it has to be: 0 it is, 1 something is bad, 2 it could not be looked at
    Doctor {
        /// Exit with 1 for warnings too, so also where LINE cannot be reached
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        serve: Box<Serve>,
    },
}

#[derive(Subcommand)]
enum Keys {
    /// Make a secret key, for SECRET_KEY_FILE, in a file that is not there yet
    New {
        /// The file
        file: std::path::PathBuf,
    },
}

#[derive(Subcommand)]
enum Erasures {
    /// Check the ledger: 0 sound, 1 tampered, 2 unreadable, 3 stale
    Verify {
        /// An export's directory, or a receipt, to check wholly offline instead of the database
        #[arg(long, value_name = "DIR|FILE")]
        export: Option<std::path::PathBuf>,
        /// File with the public key that is trusted: `public-key` of an export you had before
        #[arg(long, value_name = "FILE", requires = "export")]
        public_key: Option<std::path::PathBuf>,
    },
    /// Write the ledger into a directory that can be checked without this archive
    Export {
        /// The directory
        #[arg(long)]
        out: std::path::PathBuf,
        /// Only what was sealed from this day on (UTC, YYYY-MM-DD)
        #[arg(long)]
        from: Option<chrono::NaiveDate>,
        /// Only what was sealed up to this day
        #[arg(long)]
        to: Option<chrono::NaiveDate>,
        /// A checkpoint you kept from before: the export then shows that the ledger has only grown since
        #[arg(long, value_name = "FILE")]
        since: Option<std::path::PathBuf>,
    },
    /// Look for a message in every table and the bucket: 0 nothing is found, 1 something is, 2 it could not be looked for,
    /// 3 nothing is found and the channel never met this id
    Trace {
        /// The channel's slug
        channel: String,
        /// LINE's message id, whole
        #[arg(value_parser = |text: &str| in_words(app::trace::message_id(text)))]
        message_id: String,
    },
}

#[derive(Subcommand)]
enum Channel {
    /// Add a channel; what the environment does not say is asked for
    Add {
        /// Its place in the webhook address: /webhook/<slug>
        #[arg(value_parser = |text: &str| in_words(app::channels::slug(text)))]
        slug: String,
        /// What operators call it [default: the slug]
        #[arg(long, value_parser = |text: &str| in_words(app::channels::name(text)))]
        name: Option<String>,
        #[command(flatten)]
        given: Credentials,
    },
    /// List the channels
    List,
    /// Add a channel secret beside the present ones, so that none of LINE's webhooks is refused while it changes
    RotateSecret {
        slug: String,
        /// Drop all secrets but the newest
        #[arg(long)]
        finish: bool,
        #[command(flatten)]
        given: Credentials,
    },
    /// Say up to which size a channel's files are kept; without a size, up to 2048 MiB
    Limit {
        slug: String,
        /// MiB of one file
        #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(LARGEST_MIB)))]
        mib: Option<u32>,
    },
    /// Refuse a channel's webhooks from now on; its conversations stay
    Remove { slug: String },
}

#[derive(Subcommand)]
enum Operator {
    /// Add an operator; the password is read from standard input, or asked for
    Add {
        login: String,
        #[arg(long, value_enum)]
        role: Role,
        /// A channel they may see; may be given several times [default: all channels]
        #[arg(long = "channel")]
        channels: Vec<String>,
    },
    /// List the operators
    List,
    /// Disable an operator and end their sessions
    Disable { login: String },
    /// Let a disabled operator sign in again
    Enable { login: String },
    /// Set a new password, read from standard input or asked for, and end their sessions
    ResetPassword { login: String },
}

#[derive(ValueEnum, Clone, Copy)]
enum Role {
    /// Reads conversations
    Operator,
    /// Reads conversations and audits erasures
    Compliance,
    /// Everything
    Admin,
}

fn main() -> ExitCode {
    if let Err(error) = environment::clean() {
        // The log does not run yet.
        let _ = writeln!(stderr(), "{}", app::failure::in_words(&error));
        return ExitCode::FAILURE;
    }
    let mut cli = Cli::parse();
    telemetry::start(cli.places.log_format);
    no_core_dump();
    let prepared = match &cli.command {
        Command::Demo { .. } => privileges::prepare_demo(&mut cli.places),
        // It reads what it is shown, and needs no archive.
        Command::Erasures(Erasures::Verify {
            export: Some(_), ..
        }) => Ok(()),
        Command::Keys(Keys::New { .. }) => Ok(()),
        Command::Serve(serve) => app::settings::check_form(&cli.places, serve)
            .and_then(|()| privileges::prepare(&mut cli.places)),
        // No other command makes an archive, nor a directory for one.
        _ => app::database::must_exist(&cli.places)
            .and_then(|()| privileges::prepare(&mut cli.places)),
    };
    if let Err(error) = prepared {
        return match &cli.command {
            // Their 1 means that something was found.
            Command::Erasures(Erasures::Verify { .. } | Erasures::Trace { .. })
            | Command::Doctor { .. } => looked(Err(error)),
            _ => failed(&error),
        };
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let code = runtime.block_on(run(&cli.places, cli.command));
    match UNWRITTEN.load(Relaxed) {
        true => ExitCode::from(2),
        false => code,
    }
}

async fn run(places: &Places, command: Command) -> ExitCode {
    let done = match command {
        Command::Demo { listen } => app::demo::demo(places, listen, &say).await,
        Command::Serve(serve) => app::serve::serve(places, &serve, &say).await,
        Command::Migrate => app::database::migrate(places, &say).await,
        Command::Channel(command) => match command {
            Channel::Add { slug, name, given } => {
                app::channels::add(places, &slug, name.as_deref(), &given, &say).await
            }
            Channel::List => app::channels::list(places, &say).await,
            Channel::RotateSecret {
                slug,
                finish,
                given,
            } => app::channels::rotate_secret(places, &slug, finish, &given, &say).await,
            Channel::Limit { slug, mib } => app::channels::limit(places, &slug, mib, &say).await,
            Channel::Remove { slug } => app::channels::remove(places, &slug, &say).await,
        },
        Command::Operator(command) => match command {
            Operator::Add {
                login,
                role,
                channels,
            } => {
                let role = role.to_possible_value();
                let role = role.as_ref().map_or("", |value| value.get_name());
                app::operators::add(places, &login, role, &channels, &say).await
            }
            Operator::List => app::operators::list(places, &say).await,
            Operator::Disable { login } => app::operators::disable(places, &login, &say).await,
            Operator::Enable { login } => app::operators::enable(places, &login, &say).await,
            Operator::ResetPassword { login } => {
                app::operators::reset_password(places, &login, &say).await
            }
        },
        Command::Attest { accept } => app::operators::attest(places, accept, &say).await,
        Command::Erasures(Erasures::Verify { export, public_key }) => {
            let (export, public_key) = (export.as_deref(), public_key.as_deref());
            return looked(app::erasures::verify(places, export, public_key, &say).await);
        }
        Command::Erasures(Erasures::Export {
            out,
            from,
            to,
            since,
        }) => {
            let period = app::erasures::Period { from, to };
            app::erasures::export(places, &out, period, since.as_deref(), &say).await
        }
        Command::Erasures(Erasures::Trace {
            channel,
            message_id,
        }) => return looked(app::trace::trace(places, &channel, &message_id, &say).await),
        Command::Keys(Keys::New { file }) => app::keys::new(places, &file, &say),
        Command::Doctor { strict, serve } => {
            return looked(app::doctor::doctor(places, &serve, strict, &say).await);
        }
    };
    done.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// A core dump would hold keys, and what people wrote.
fn no_core_dump() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if setrlimit(Resource::Core, none).is_err() {
        tracing::warn!(
            "core dumps cannot be switched off: one would hold keys and what people wrote"
        );
    }
}

/// The code of a command that looks for something; 2 where it could not look.
fn looked(found: anyhow::Result<ExitCode>) -> ExitCode {
    found.unwrap_or_else(|error| {
        failed(&error);
        ExitCode::from(2)
    })
}

/// Set where standard output could not be written: what was asked for has not been told.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

fn say(line: &str) {
    // A panic here left PostgreSQL running.
    if let Err(error) = writeln!(stdout(), "{}", app::printable(line))
        && !UNWRITTEN.swap(true, Relaxed)
    {
        failed(&anyhow::Error::new(error).context("standard output cannot be written"));
    }
}

/// An error with its causes, for clap, which prints the first alone.
fn in_words<T>(read: anyhow::Result<T>) -> Result<T, String> {
    read.map_err(|error| app::failure::in_words(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let words = app::failure::in_words(error);
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{words}");
    } else {
        // `RUST_LOG` chooses what is logged, not whether a command says why it failed.
        let _ = writeln!(stderr(), "{words}");
    }
    ExitCode::FAILURE
}
