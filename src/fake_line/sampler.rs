//! One event of every kind, for tests of the platform's bodies and signatures and of a service that receives them.

use serde_json::json;

use super::{Channel, Event, Media, Membership, SignedBody};

/// One signed webhook for each kind of event and message, plus one with several events and one with none.
#[must_use]
pub fn every_kind(channel: &Channel) -> Vec<SignedBody> {
    let events = every_event(channel);
    let single = events
        .iter()
        .map(|event| channel.signed(std::slice::from_ref(event)));
    single
        .chain([channel.signed(&events), channel.signed(&[])])
        .collect()
}

/// One event of every kind, in an order that can happen on LINE.
#[must_use]
pub fn every_event(channel: &Channel) -> Vec<Event> {
    let mut events = messages(channel);
    events.extend(others(channel));
    events
}

fn messages(channel: &Channel) -> Vec<Event> {
    let (aoi, ken) = (channel.user("葵 Aoi"), channel.user("Ken"));
    let group = channel.group("週末 🏕 crew", &[&aoi, &ken]);
    let room = channel.room(&[&aoi, &ken]);
    let (in_group, in_room) = (group.member(&aoi), room.member(&ken));
    let picture = super::pictures::photo(1, 64, 48);
    let text = in_group
        .sends_text("🤨 @Ken と @Shop と @All(moon)ไทย\n\"/\\")
        .mentioning("@Ken", &ken);
    let text = text.mentioning_bot("@Shop").mentioning_all("@All").emoji(
        "(moon)",
        "5ac1bfd5040ab15980c9b435",
        "001",
    );
    let text = text.make();
    let address = "〒160-0004 東京都新宿区四谷一丁目6番1号";
    let mut events = vec![
        aoi.sends_text("hello").make(),
        in_room.sends_text("a multi-person chat").make(),
        in_group
            .edits(&text, "🤨 @Ken only")
            .mentioning("@Ken", &ken)
            .make(),
        in_group.sends_text("yes").quoting(&text).make(),
        aoi.sends_text("while another channel speaks")
            .standby()
            .make(),
        aoi.sends_image(picture.clone()).make(),
        aoi.sends_external(
            Media::Image,
            "https://example.com/a.jpg",
            Some("https://example.com/p.jpg"),
        )
        .make(),
        aoi.sends_external(
            Media::Video,
            "https://example.com/a.mp4",
            Some("https://example.com/p.jpg"),
        )
        .make(),
        aoi.sends_external(Media::Audio, "https://example.com/a.m4a", None)
            .make(),
        aoi.sends_video(&b"video"[..], 3_000).make(),
        aoi.sends_audio(&b"audio"[..], 4_000).make(),
        aoi.sends_file("見積書.pdf", &b"%PDF-1.4"[..]).make(),
        aoi.sends_location("LY Corporation", address, 35.687_574, 139.729_22)
            .make(),
        aoi.sends_location("", "", -33.0, 0.5).make(),
        aoi.sends_sticker("446", "1988")
            .keywords(&["cony", "sally"])
            .make(),
        aoi.sends_sticker("1", "2")
            .saying("お疲れさま")
            .quoting(&text)
            .make(),
        aoi.sends_unknown("hologram", "depth", json!(3)).make(),
        in_group.unsends(&text).make(),
    ];
    events.push(text);
    events.extend(
        in_group
            .sends_image_set(vec![picture.clone(), picture])
            .into_iter()
            .map(super::Draft::make),
    );
    events
}

fn others(channel: &Channel) -> Vec<Event> {
    let (aoi, ken) = (channel.user("Aoi"), channel.user("Ken"));
    let group = channel.group("Crew", &[&aoi]);
    vec![
        aoi.follows().make(),
        aoi.unfollows().make(),
        aoi.unblocks().make(),
        group.bot_joins().make(),
        group.joined(&[&ken, &aoi]).make(),
        group.left(&[&ken]).make(),
        group.bot_leaves().make(),
        aoi.postback("action=buy&item=111").make(),
        aoi.postback_with("action=when", json!({"datetime": "2026-11-25T01:00"}))
            .make(),
        aoi.postback_with(
            "menu",
            json!({"newRichMenuAliasId": "b", "status": "SUCCESS"}),
        )
        .make(),
        aoi.watches_to_the_end("track-1").make(),
        aoi.meets_beacon("d41d8cd98f", "enter").make(),
        aoi.meets_beacon("d41d8cd98f", "stay").make(),
        aoi.links_account("nonce").make(),
        channel.fails_to_link("nonce").make(),
        aoi.membership(Membership::Joined, 3_189).make(),
        aoi.membership(Membership::Renewed, 3_189).make(),
        aoi.membership(Membership::Left, 3_189).make(),
        aoi.things("link", "t016560bc3fb1e42b9fe9293ca6e2db71")
            .make(),
        aoi.things("unlink", "t016560bc3fb1e42b9fe9293ca6e2db71")
            .make(),
        channel
            .attaches_module(&["message:send", "message:receive"])
            .make(),
        channel.detaches_module().make(),
        channel.is_activated(&aoi, 1_795_000_000_000).make(),
        channel.is_deactivated(&aoi).make(),
        channel.is_suspended().make(),
        channel.is_resumed().make(),
        channel
            .has_delivered("15034552939884E28681A7D668CEA94C147C716C0EC9DFE8B80B44EF3B57F6BD")
            .make(),
        aoi.does("greatNewFeature")
            .with("feature", json!({"level": 9}))
            .make(),
    ]
}
