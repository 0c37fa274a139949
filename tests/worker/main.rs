//! What runs after the acknowledgement, on a real PostgreSQL, a real directory and the pretend LINE.

mod archive;
mod external;
mod files;
mod people;
mod trouble;
mod unsend;
