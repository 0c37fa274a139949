//! The command line.

mod environment;

use std::{
    io::{Write, stderr, stdout},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use line_chat_archive::{
    app::{self, privileges},
    config::{Credentials, Serve, StorageConfig, listen},
    telemetry,
};

/// mimalloc returns memory to the system after a flood of connections. The C library's allocator kept 179 MiB, of which
/// 38 MiB were in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An archive for the chats of LINE Official Accounts.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(flatten)]
    storage: StorageConfig,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a demo: everything embedded, with a fake LINE Platform that keeps writing, sending and unsending
    Demo {
        /// Address to listen on; if it is in use, a free port is used
        #[arg(long, env = "LISTEN", value_parser = listen, default_value = "127.0.0.1:8080")]
        listen: std::net::SocketAddr,
    },
    /// Run the service
    Serve(Box<Serve>),
    /// Migrate the database to the schema of this version, and exit
    Migrate,
    /// Channels: LINE Official Accounts that are archived
    #[command(subcommand)]
    Channel(Channel),
    /// Operators: people who may sign in to the dashboard
    #[command(subcommand)]
    Operator(Operator),
    /// List operators and channels whose rows this program did not write: after a restore of a version without MACs, or
    /// because somebody has written to the database
    Attest {
        /// Accept them as they are in the database
        #[arg(long)]
        accept: bool,
    },
    /// Erasures: verify or export their ledger, or search for remains of a message
    #[command(subcommand)]
    Erasures(Erasures),
    /// The secret key
    #[command(subcommand)]
    Keys(Keys),
    /// Files in the object store
    #[command(subcommand)]
    Objects(Objects),
    /// Check the installation and its settings. Exit code: 0 fine, 1 something is bad (with --strict: or a warning), 2 the
    /// check failed
    Doctor {
        /// Exit with 1 for warnings too, for example if LINE cannot be reached
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        serve: Box<Serve>,
    },
}

#[derive(Subcommand)]
enum Keys {
    /// Make a secret key, for SECRET_KEY_FILE, in a new file
    New {
        /// Path of the new file
        file: std::path::PathBuf,
    },
    /// Give up keys that are missing or damaged in the keyring, so that erasures that wait for them are completed
    Lost(app::Confirm),
}

#[derive(Subcommand)]
enum Objects {
    /// Give up objects that have to be purged and are missing, so that erasures that wait for them are completed
    Lost(app::Confirm),
}

#[derive(Subcommand)]
enum Erasures {
    /// Verify the ledger. Exit code: 0 sound, 1 tampered, 2 unreadable, 3 stale
    Verify {
        /// Directory of an export, or file of a receipt, to verify offline instead of the database
        #[arg(long, value_name = "DIR|FILE")]
        export: Option<std::path::PathBuf>,
        /// The ledger's trusted public key: its text, or a file with it, such as `public-key` of an earlier export
        #[arg(long, value_name = "KEY|FILE", requires = "export")]
        public_key: Option<std::path::PathBuf>,
    },
    /// Write the ledger into a directory that can be verified without this archive
    Export {
        /// Directory to write to: a new or an empty one
        #[arg(long)]
        out: std::path::PathBuf,
        /// Only records that were sealed on or after this day (UTC, YYYY-MM-DD)
        #[arg(long, value_parser = |text: &str| in_words(app::erasures::day(text)))]
        from: Option<chrono::NaiveDate>,
        /// Only records that were sealed on or before this day (UTC, YYYY-MM-DD)
        #[arg(long, value_parser = |text: &str| in_words(app::erasures::day(text)))]
        to: Option<chrono::NaiveDate>,
        /// File with an earlier checkpoint: the export then proves that the ledger has only grown since
        #[arg(long, value_name = "FILE")]
        since: Option<std::path::PathBuf>,
    },
    /// Search all tables, the object store and the keyring for a message. Exit code: 0 nothing found, 1 something
    /// found, 2 the search failed, 3 nothing found and the channel never received this id
    Trace {
        /// The channel's slug
        channel: String,
        /// LINE's message id, complete
        #[arg(value_parser = |text: &str| in_words(app::trace::message_id(text)))]
        message_id: String,
    },
}

#[derive(Subcommand)]
enum Channel {
    /// Add a channel; asks for the credentials that the environment does not contain
    Add {
        /// Its name in the webhook address: /webhook/<slug>
        #[arg(value_parser = |text: &str| in_words(app::channels::slug(text)))]
        slug: String,
        /// Name that operators see [default: the slug]
        #[arg(long, value_parser = |text: &str| in_words(app::channels::name(text)))]
        name: Option<String>,
        #[command(flatten)]
        given: Credentials,
    },
    /// List the channels
    List,
    /// Add a channel secret beside the present ones, so that no webhook is refused during the change
    RotateSecret {
        /// The channel's slug
        slug: String,
        /// Delete all secrets but the newest
        #[arg(long)]
        finish: bool,
        #[command(flatten)]
        given: Credentials,
    },
    /// Set the largest size up to which a channel's files are stored; without a size, 2048 MiB
    Limit {
        /// The channel's slug
        slug: String,
        /// Largest size of one file in MiB
        #[arg(value_parser = |text: &str| in_words(app::channels::mib(text)))]
        mib: Option<u32>,
    },
    /// Fetch files again that LINE refused, or that could not be fetched
    FetchAgain(app::channels::FetchAgain),
    /// Remove a channel: its webhooks are refused from now on, its conversations stay
    Remove {
        /// The channel's slug
        slug: String,
    },
}

#[derive(Subcommand)]
enum Operator {
    /// Add an operator; the password is read from standard input, or asked for
    Add {
        /// Name that they sign in with
        login: String,
        /// The operator's role
        #[arg(long, value_enum)]
        role: Role,
        /// A channel they may see; may be given several times [default: all channels]
        #[arg(long = "channel")]
        channels: Vec<String>,
    },
    /// List the operators
    List,
    /// Disable an operator and end their sessions
    Disable {
        /// Name that they sign in with
        login: String,
    },
    /// Let a disabled operator sign in again
    Enable {
        /// Name that they sign in with
        login: String,
    },
    /// Set a new password, read from standard input or asked for, and end their sessions
    ResetPassword {
        /// Name that they sign in with
        login: String,
    },
}

#[derive(ValueEnum, Clone, Copy)]
enum Role {
    /// Reads conversations
    Operator,
    /// Reads conversations and audits erasures
    Compliance,
    /// Can do everything
    Admin,
}

/// The settings of every command that `demo` uses too.
const SETTINGS_OF_DEMO: [&str; 2] = ["run_as", "log_format"];

/// The command line. The help of `demo` does not show the settings that it ignores; it still accepts them, because a
/// shell may have them in its environment.
fn command_line() -> clap::Command {
    let command = Cli::command();
    let ignored = command
        .get_arguments()
        .filter(|arg| arg.is_global_set() && !SETTINGS_OF_DEMO.contains(&arg.get_id().as_str()));
    let ignored: Vec<_> = ignored.map(|arg| arg.clone().hide(true)).collect();
    // clap copies a global argument only into subcommands that have none of the same id.
    with_plain_usage(command.mut_subcommand("demo", |demo| demo.args(ignored)))
}

/// Gives each command the usage line of its help. In its errors clap would list each setting that the environment has as
/// an option that must be given.
fn with_plain_usage(mut command: clap::Command) -> clap::Command {
    // The names of the parent commands are known after this call only.
    command.build();
    plain_usage(command)
}

fn plain_usage(mut command: clap::Command) -> clap::Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let names: Vec<_> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        command = command.mut_subcommand(name, plain_usage);
    }
    command.override_usage(usage)
}

/// How long file operations that are under way may take at the end.
const FILES_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

fn main() -> ExitCode {
    if let Err(error) = environment::clean() {
        // The log is not started yet.
        let _ = writeln!(stderr(), "{}", app::failure::in_words(&error));
        return ExitCode::FAILURE;
    }
    let mut cli =
        Cli::from_arg_matches(&command_line().get_matches()).unwrap_or_else(|error| error.exit());
    telemetry::start(cli.storage.log_format);
    privileges::no_core_dump();
    let prepared = match &cli.command {
        Command::Demo { .. } => privileges::prepare_demo(&mut cli.storage),
        // This command reads only the files that it is given, and needs no archive.
        Command::Erasures(Erasures::Verify {
            export: Some(_), ..
        }) => Ok(()),
        Command::Keys(Keys::New { .. }) => Ok(()),
        Command::Serve(serve) => app::settings::check_form(&cli.storage, serve)
            .and_then(|()| privileges::prepare(&mut cli.storage)),
        // No other command makes an archive, nor a directory for one.
        _ => app::database::must_exist(&cli.storage)
            .and_then(|()| privileges::prepare(&mut cli.storage)),
    };
    if let Err(error) = prepared {
        return match &cli.command {
            // For these commands exit code 1 means that something was found.
            Command::Erasures(Erasures::Verify { .. } | Erasures::Trace { .. })
            | Command::Doctor { .. } => looked(Err(error)),
            _ => failed(&error),
        };
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let code = runtime.block_on(run(&cli.storage, cli.command));
    // A file operation on a disk that hangs does not end.
    runtime.shutdown_timeout(FILES_TIMEOUT);
    match UNWRITTEN.load(Relaxed) {
        true => ExitCode::from(2),
        false => code,
    }
}

async fn run(storage: &StorageConfig, command: Command) -> ExitCode {
    let done = match command {
        Command::Demo { listen } => app::demo::demo(storage, listen, &say).await,
        Command::Serve(serve) => app::serve::serve(storage, &serve, &say).await,
        Command::Migrate => app::database::migrate(storage, &say).await,
        Command::Channel(command) => match command {
            Channel::Add { slug, name, given } => {
                app::channels::add(storage, &slug, name.as_deref(), &given, &say).await
            }
            Channel::List => app::channels::list(storage, &say).await,
            Channel::RotateSecret {
                slug,
                finish,
                given,
            } => app::channels::rotate_secret(storage, &slug, finish, &given, &say).await,
            Channel::Limit { slug, mib } => app::channels::limit(storage, &slug, mib, &say).await,
            Channel::FetchAgain(given) => app::channels::fetch_again(storage, &given, &say).await,
            Channel::Remove { slug } => app::channels::remove(storage, &slug, &say).await,
        },
        Command::Operator(command) => match command {
            Operator::Add {
                login,
                role,
                channels,
            } => {
                let role = role.to_possible_value();
                let role = role.as_ref().map_or("", |value| value.get_name());
                app::operators::add(storage, &login, role, &channels, &say).await
            }
            Operator::List => app::operators::list(storage, &say).await,
            Operator::Disable { login } => app::operators::disable(storage, &login, &say).await,
            Operator::Enable { login } => app::operators::enable(storage, &login, &say).await,
            Operator::ResetPassword { login } => {
                app::operators::reset_password(storage, &login, &say).await
            }
        },
        Command::Attest { accept } => app::operators::attest(storage, accept, &say).await,
        Command::Erasures(Erasures::Verify { export, public_key }) => {
            let (export, public_key) = (export.as_deref(), public_key.as_deref());
            return looked(app::erasures::verify(storage, export, public_key, &say).await);
        }
        Command::Erasures(Erasures::Export {
            out,
            from,
            to,
            since,
        }) => {
            let period = app::erasures::Period { from, to };
            app::erasures::export(storage, &out, period, since.as_deref(), &say).await
        }
        Command::Erasures(Erasures::Trace {
            channel,
            message_id,
        }) => return looked(app::trace::trace(storage, &channel, &message_id, &say).await),
        Command::Keys(Keys::New { file }) => app::keys::new(storage, &file, &say),
        Command::Keys(Keys::Lost(given)) => app::lost_keys::lost(storage, given, &say).await,
        Command::Objects(Objects::Lost(given)) => {
            app::lost_objects::lost(storage, given, &say).await
        }
        Command::Doctor { strict, serve } => {
            return looked(app::doctor::doctor(storage, &serve, strict, &say).await);
        }
    };
    done.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// Exit code of a command that searches or checks; 2 if it could not do so.
fn looked(found: anyhow::Result<ExitCode>) -> ExitCode {
    found.unwrap_or_else(|error| {
        failed(&error);
        ExitCode::from(2)
    })
}

/// Set if standard output could not be written: the command's answer is incomplete.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

fn say(line: &str) {
    // No `println!`: its panic on a write error left PostgreSQL running.
    if let Err(error) = writeln!(stdout(), "{}", app::printable(line))
        && !UNWRITTEN.swap(true, Relaxed)
    {
        failed(&anyhow::Error::new(error).context("standard output cannot be written"));
    }
}

/// Formats an error with its causes for clap, which prints only the first one.
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
