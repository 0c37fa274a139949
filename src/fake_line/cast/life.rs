//! The demo's present: at random times somebody writes, sends a photo, edits or unsends a message.

use std::{collections::VecDeque, time::Duration};

use super::{lines::Language, people::Cast, stage::Stage};
use crate::fake_line::{Event, User, pictures::SCENES};

/// The number of recent messages that can still be edited, quoted or unsent.
const MEMORY: usize = 30;

/// A recent message.
struct RecentMessage {
    by: User,
    language: Language,
    event: Event,
    text: Option<&'static str>,
}

/// Plays random actions for ever, one per `pace` on average.
pub(super) async fn live(stage: &mut Stage, cast: &Cast, pace: Duration) {
    let speakers = cast.speakers();
    let mut recent = VecDeque::new();
    loop {
        stage.pause(pace).await;
        let (speaker, language) = &speakers[stage.random_below(speakers.len())];
        match stage.random_below(24) {
            0..=2 => take_back(stage, &mut recent).await,
            3 | 4 => correct(stage, &recent).await,
            5..=7 => show(stage, speaker, *language, &mut recent).await,
            8 | 9 => {
                let sticker =
                    ["52002734", "52002735", "52002740", "52002752"][stage.random_below(4)];
                stage
                    .tell(
                        speaker
                            .sends_sticker("11537", sticker)
                            .resource("ANIMATION"),
                    )
                    .await;
            }
            10 => {
                let button =
                    ["action=track", "action=menu&page=2", "action=help"][stage.random_below(3)];
                stage.tell(speaker.postback(button)).await;
            }
            _ => write(stage, speaker, *language, &mut recent).await,
        }
        recent.truncate(MEMORY);
    }
}

async fn write(
    stage: &mut Stage,
    speaker: &User,
    language: Language,
    recent: &mut VecDeque<RecentMessage>,
) {
    let text = language.lines()[stage.random_below(language.lines().len())];
    let mut draft = speaker.sends_text(text);
    let here = |said: &&RecentMessage| {
        said.by.chat().map(|chat| chat.id()) == speaker.chat().map(|chat| chat.id())
    };
    let earlier = recent
        .iter()
        .filter(here)
        .find(|said| speaker.chat().is_some() && said.by.id() != speaker.id());
    if let (Some(earlier), 0) = (earlier, stage.random_below(3)) {
        draft = draft.quoting(&earlier.event);
    }
    let event = stage.tell(draft).await;
    recent.push_front(RecentMessage {
        by: speaker.clone(),
        language,
        event,
        text: Some(text),
    });
}

async fn show(
    stage: &mut Stage,
    speaker: &User,
    language: Language,
    recent: &mut VecDeque<RecentMessage>,
) {
    let scene = SCENES[stage.random_below(SCENES.len())];
    let photo = stage.photo(scene).await;
    let event = stage.tell(speaker.sends_image(photo)).await;
    recent.push_front(RecentMessage {
        by: speaker.clone(),
        language,
        event,
        text: None,
    });
    stage.tell(speaker.sends_text(language.with_photo())).await;
}

/// Edits the latest text in a group: LINE sends events for edits in groups only.
async fn correct(stage: &mut Stage, recent: &VecDeque<RecentMessage>) {
    let in_group = |said: &&RecentMessage| said.by.chat().is_some_and(|chat| chat.is_group());
    let latest = recent
        .iter()
        .filter(in_group)
        .find_map(|said| said.text.map(|text| (said, text)));
    if let Some((said, text)) = latest {
        let corrected = format!("{text}{}", said.language.correction());
        stage.tell(said.by.edits(&said.event, &corrected)).await;
    }
}

/// Unsends one of the latest six messages.
async fn take_back(stage: &mut Stage, recent: &mut VecDeque<RecentMessage>) {
    if recent.is_empty() {
        return;
    }
    let which = stage.random_below(recent.len().min(6));
    if let Some(said) = recent.remove(which) {
        stage.tell(said.by.unsends(&said.event)).await;
    }
}
