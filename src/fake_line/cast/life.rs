//! The demo's present: at random times somebody writes, sends a photo, edits or unsends a message.

use std::{collections::VecDeque, time::Duration};

use super::{lines::Tongue, people::Cast, stage::Stage};
use crate::fake_line::{Event, User, drawing::Scene};

/// The number of recent messages that can still be edited, quoted or unsent.
const MEMORY: usize = 30;

/// A recent message.
struct Said {
    by: User,
    tongue: Tongue,
    event: Event,
    text: Option<&'static str>,
}

/// Plays random actions for ever, one per `pace` on average.
pub(super) async fn live(stage: &mut Stage, cast: &Cast, pace: Duration) {
    let speakers = cast.speakers();
    let mut recent = VecDeque::new();
    loop {
        stage.pause(pace).await;
        let (speaker, tongue) = &speakers[stage.throw(speakers.len())];
        match stage.throw(24) {
            0..=2 => take_back(stage, &mut recent).await,
            3 | 4 => correct(stage, &recent).await,
            5..=7 => show(stage, speaker, *tongue, &mut recent).await,
            8 | 9 => {
                let sticker = ["52002734", "52002735", "52002740", "52002752"][stage.throw(4)];
                stage
                    .tell(
                        speaker
                            .sends_sticker("11537", sticker)
                            .resource("ANIMATION"),
                    )
                    .await;
            }
            10 => {
                let button = ["action=track", "action=menu&page=2", "action=help"][stage.throw(3)];
                stage.tell(speaker.postback(button)).await;
            }
            _ => write(stage, speaker, *tongue, &mut recent).await,
        }
        recent.truncate(MEMORY);
    }
}

async fn write(stage: &mut Stage, speaker: &User, tongue: Tongue, recent: &mut VecDeque<Said>) {
    let text = tongue.lines()[stage.throw(tongue.lines().len())];
    let mut draft = speaker.sends_text(text);
    let here =
        |said: &&Said| said.by.chat().map(|chat| chat.id()) == speaker.chat().map(|chat| chat.id());
    let heard = recent
        .iter()
        .filter(here)
        .find(|said| speaker.chat().is_some() && said.by.id() != speaker.id());
    if let (Some(heard), 0) = (heard, stage.throw(3)) {
        draft = draft.quoting(&heard.event);
    }
    let event = stage.tell(draft).await;
    recent.push_front(Said {
        by: speaker.clone(),
        tongue,
        event,
        text: Some(text),
    });
}

async fn show(stage: &mut Stage, speaker: &User, tongue: Tongue, recent: &mut VecDeque<Said>) {
    use Scene::{Bag, Beach, City, Coffee, Flowers, Lake, Parcel, Ramen, Receipt, Sunset};
    let scene = [
        Bag, Beach, City, Coffee, Flowers, Lake, Parcel, Ramen, Receipt, Sunset,
    ][stage.throw(10)];
    let photo = stage.photo(scene).await;
    let event = stage.tell(speaker.sends_image(photo)).await;
    recent.push_front(Said {
        by: speaker.clone(),
        tongue,
        event,
        text: None,
    });
    stage.tell(speaker.sends_text(tongue.with_photo())).await;
}

/// Edits the latest text in a group: LINE sends events for edits in groups only.
async fn correct(stage: &mut Stage, recent: &VecDeque<Said>) {
    let in_group = |said: &&Said| said.by.chat().is_some_and(|chat| chat.is_group());
    let latest = recent
        .iter()
        .filter(in_group)
        .find_map(|said| said.text.map(|text| (said, text)));
    if let Some((said, text)) = latest {
        let corrected = format!("{text}{}", said.tongue.correction());
        stage.tell(said.by.edits(&said.event, &corrected)).await;
    }
}

/// Unsends one of the latest six messages.
async fn take_back(stage: &mut Stage, recent: &mut VecDeque<Said>) {
    if recent.is_empty() {
        return;
    }
    let which = stage.throw(recent.len().min(6));
    if let Some(said) = recent.remove(which) {
        stage.tell(said.by.unsends(&said.event)).await;
    }
}
