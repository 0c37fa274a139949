//! The option of commands that only say what they would do until it is given.

/// Options of a command that gives something up.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Confirm {
    /// Give them up; without this they are only named
    #[arg(long)]
    pub confirm: bool,
}
