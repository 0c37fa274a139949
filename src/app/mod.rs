//! Assembles the program from all other modules. Each command of the command line is a function here.

mod ask;
mod bucket_key_store;
pub mod channels;
mod confirm;
mod counted;
pub mod database;
pub mod database_clock;
pub mod database_url;
pub mod demo;
mod disk;
pub mod doctor;
pub mod erasures;
pub mod failure;
pub mod keys;
pub mod lost_keys;
pub mod lost_objects;
mod marks;
pub mod operators;
mod places;
mod printable;
pub mod privileges;
mod secret_watch;
pub mod serve;
pub mod service;
pub mod settings;
pub mod signals;
mod starting;
pub mod stores;
mod table;
pub mod trace;

pub use confirm::Confirm;
pub use printable::printable;
