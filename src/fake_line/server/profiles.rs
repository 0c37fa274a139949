//! The API calls that answer with profiles of people, chats and bots.

use super::Answer;
use crate::fake_line::{
    json::{Json, object},
    states::{ChatKind, ChatState, PersonState},
    world::World,
};

impl World {
    /// `GET /v2/bot/profile/{userId}`: only for friends who consented.
    pub(super) fn profile(&self, channel: usize, id: &str, url: &str) -> Answer {
        let friend = self
            .people
            .get(id)
            .filter(|person| person.friends.contains(&channel) && person.consents);
        found(friend.map(|person| {
            let mut profile = short_profile(id, person, url);
            for (name, value) in [
                ("language", &person.language),
                ("statusMessage", &person.status),
            ] {
                if let Some(value) = value {
                    profile.set(name, value.as_str());
                }
            }
            profile
        }))
    }

    /// `GET /v2/bot/{group,room}/{chat}/member/{userId}`: friendship and blocking make no difference.
    pub(super) fn member(&self, channel: usize, chat: &str, id: &str, url: &str) -> Answer {
        let is_in = self
            .chat(channel, chat)
            .is_some_and(|chat| chat.members.contains(id));
        let person = self
            .people
            .get(id)
            .filter(|person| is_in && person.consents);
        found(person.map(|person| short_profile(id, person, url)))
    }

    /// `GET /v2/bot/group/{groupId}/summary`
    pub(super) fn summary(&self, channel: usize, id: &str, url: &str) -> Answer {
        found(self.chat(channel, id).and_then(|chat| match &chat.kind {
            ChatKind::Group { name, picture } => {
                let mut summary =
                    object([("groupId", id.into()), ("groupName", name.as_str().into())]);
                hang_picture(&mut summary, picture.as_deref(), url);
                Some(summary)
            }
            ChatKind::Room => None,
        }))
    }

    /// `GET /v2/bot/{group,room}/{chat}/members/count`
    pub(super) fn member_count(&self, channel: usize, id: &str) -> Answer {
        found(
            self.chat(channel, id)
                .map(|chat| object([("count", (chat.members.len() as i64).into())])),
        )
    }

    /// `GET /v2/bot/{group,room}/{chat}/members/ids`, at most 100 at a time; `start` is `next` of the previous answer.
    pub(super) fn member_ids(&self, channel: usize, id: &str, start: Option<&str>) -> Answer {
        found(self.chat(channel, id).map(|chat| {
            let agreed = |id: &&String| self.people.get(*id).is_some_and(|person| person.consents);
            let later = |id: &&String| start.is_none_or(|start| id.as_str() > start);
            let ids: Vec<&String> = chat.members.iter().filter(agreed).filter(later).collect();
            let page = &ids[..ids.len().min(100)];
            let list = page.iter().map(|id| Json::from(id.as_str())).collect();
            let mut answer = object([("memberIds", Json::List(list))]);
            if let (true, Some(last)) = (ids.len() > page.len(), page.last()) {
                answer.set("next", last.as_str());
            }
            answer
        }))
    }

    /// `GET /v2/bot/info`
    pub(super) fn bot_info(&self, channel: usize) -> Answer {
        found(self.channels.get(channel).map(|channel| {
            object([
                ("userId", channel.bot_user_id.as_str().into()),
                ("basicId", channel.basic_id.as_str().into()),
                ("displayName", channel.name.as_str().into()),
                ("chatMode", "bot".into()),
                ("markAsReadMode", "auto".into()),
            ])
        }))
    }

    fn chat(&self, channel: usize, id: &str) -> Option<&ChatState> {
        self.chats
            .get(id)
            .filter(|chat| chat.channel == channel && chat.bot_is_in)
    }
}

fn short_profile(id: &str, person: &PersonState, url: &str) -> Json {
    let mut profile = object([
        ("displayName", person.name.as_str().into()),
        ("userId", id.into()),
    ]);
    hang_picture(&mut profile, person.picture.as_deref(), url);
    profile
}

fn hang_picture(answer: &mut Json, token: Option<&str>, url: &str) {
    if let Some(token) = token {
        answer.set("pictureUrl", format!("{url}/pictures/{token}"));
    }
}

fn found(answer: Option<Json>) -> Answer {
    answer.map_or_else(Answer::not_found, |json| {
        Answer::json(200, &json.to_string())
    })
}
