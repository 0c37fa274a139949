//! The option of commands that only say what they would do until it is given.

/// What a command that gives something up is given.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Confirm {
    /// Give them up; without this they are only named
    #[arg(long)]
    pub confirm: bool,
}
