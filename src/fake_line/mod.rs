//! A fake LINE Platform: people who write, send photos, edit and unsend; signed webhooks; the API's two hosts.
//!
//! Nothing here uses code of the archive. Bodies, signatures and identifiers are written independently from LINE's
//! documentation, so that a misunderstanding on one side is not repeated on the other.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use line_chat_archive::fake_line::FakeLine;
//!
//! let line = FakeLine::start()?;
//! let shop = line.channel("Shop");
//! shop.webhook_to("http://127.0.0.1:8080/webhook/shop");
//!
//! let aoi = shop.user("Aoi");
//! let crew = shop.group("Weekend crew", &[&aoi]);
//! let sent = crew.member(&aoi).sends_text("see you at nine").await?;   // delivered, and acknowledged with 2xx
//! let edit = crew.member(&aoi).edits(&sent, "see you at ten").make();  // happened, but not delivered yet
//! crew.member(&aoi).unsends(&sent).await?;
//! shop.deliver(&[edit]).await;                                        // the late news of the edit
//! # Ok(()) }
//! ```
//!
//! A call such as `sends_text` takes effect on the platform at once; awaiting its draft delivers the event.

mod call;
pub mod cast;
mod channel;
mod chats;
mod content;
mod delivery;
mod draft;
mod events;
mod faults;
mod handles;
mod ids;
mod json;
mod line;
mod message_events;
mod people;
pub mod pictures;
mod platform;
pub mod sampler;
mod server;
mod sign;
mod states;
mod time;
mod trouble;
mod world;

pub use call::Call;
pub use delivery::{Delivery, Refused, Sent, SignedBody};
pub use draft::{Draft, Event};
pub use events::Membership;
pub use handles::{Channel, Chat, FakeLine, User};
pub use message_events::Media;
pub use sign::sign;
pub use states::BotMessage;
pub use trouble::{Gate, Trouble};

#[cfg(test)]
mod tests;
