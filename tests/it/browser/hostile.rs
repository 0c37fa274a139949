//! Events whose texts try to break a page.

use line_chat_archive::fake_line::{Channel, Event, pictures};
use serde_json::json;

use crate::harness::start;

/// Markup that, if it is not escaped, creates an element with the class `hacked`, opens a dialog or violates the CSP.
const MARKUP: [&str; 8] = [
    "<script class=hacked>alert(1)</script>",
    "<img class=hacked src=x onerror=alert(1)>",
    "\"><svg class=hacked onload=alert(1)>",
    "' class='hacked' onmouseover='alert(1)",
    "</title></script></style></textarea><b class=hacked>",
    "javascript:alert(1)",
    "https://evil.invalid/\"class=\"hacked\"onclick=\"alert(1)",
    "<a class=hacked href=javascript:alert(1)>{{7*7}}${7*7}<!--",
];

/// Texts that are hard to lay out rather than dangerous.
fn shapes() -> Vec<String> {
    let zalgo =
        "Z\u{0300}\u{0301}\u{0302}\u{0303}\u{0304}\u{0305}\u{0306}\u{0307}\u{0308}\u{0309}\u{030a}";
    vec![
        "x".to_owned(),
        "W".repeat(5_000),
        "長い文章です。".repeat(715),
        "ยาวมาก".repeat(300),
        format!(
            "https://example.invalid/{}?q={}",
            "a".repeat(200),
            "b".repeat(174)
        ),
        "invoice \u{202e}fdp.exe\u{202c} and on".to_owned(),
        "unclosed \u{202e}\u{2066}\u{2067}".to_owned(),
        zalgo.repeat(60),
        "👩‍👩‍👧‍👦".repeat(40),
        "\u{200b}\u{200d}\u{feff}".to_owned(),
        "مرحبا بالعالم، هذا نص من اليمين إلى اليسار".to_owned(),
        "lines\n\n\n\n\nof\n\ttext".to_owned(),
        " ".repeat(300),
    ]
}

/// All hostile events, in the order of their delivery.
pub fn events(channel: &Channel) -> Vec<Event> {
    let mut events = vec![];
    for text in MARKUP {
        let person = channel.user(text);
        person.sets_status(text);
        person.speaks(text);
        let group = channel.group(text, &[&person]);
        group.pictured(pictures::avatar(7));
        let member = group.member(&person);
        let said = member.sends_text(text).make();
        events.extend([
            member.edits(&said, &format!("{text} edited")).make(),
            member.sends_text(text).quoting(&said).make(),
            said,
            group.joined(&[&person]).make(),
            person.sends_file(text, &b"%PDF"[..]).make(),
            person.sends_location(text, text, 35.0, 139.0).make(),
            person
                .sends_sticker("1", "2")
                .saying(text)
                .keywords(&[text, text])
                .make(),
            person.postback_with(text, json!({ text: text })).make(),
            person.meets_beacon(text, text).make(),
            person.watches_to_the_end(text).make(),
            person.links_account(text).make(),
            person.things(text, text).make(),
            person.does(text).with(text, json!({ text: [text] })).make(),
            person.sends_unknown("hologram", text, json!(text)).make(),
            person
                .sends_text(text)
                .with_message("type", json!(text))
                .make(),
        ]);
    }
    let names = [
        "W".repeat(60),
        "🦊".repeat(60),
        "名".repeat(60),
        "\u{202e}live".to_owned(),
        "\u{200b}".to_owned(),
    ];
    let people: Vec<_> = names.iter().map(|name| channel.user(name)).collect();
    let groups: Vec<_> = people
        .iter()
        .map(|person| channel.group(&person.name(), &[person]))
        .collect();
    for (n, text) in shapes().iter().enumerate() {
        let (person, group) = (&people[n % names.len()], &groups[n % names.len()]);
        events.extend([
            person.sends_text(text).make(),
            person.sends_file(text, &b"x"[..]).make(),
            person.sends_location(text, text, 0.0, 0.0).make(),
            person.sends_sticker("1", "2").saying(text).make(),
            person.postback(text).make(),
            group.member(person).sends_text(text).make(),
        ]);
    }
    events.extend(broken(channel));
    events
}

/// Events whose text is not valid text.
fn broken(channel: &Channel) -> Vec<Event> {
    let person = channel.user("lone surrogates");
    let (id, at) = (person.id(), start().timestamp_millis());
    [
        r#""type":"text","text":"half \ud83e of a fox""#,
        r#""type":"text","text":"a\u0000b""#,
        r#""type":"text","text":7"#,
        r#""type":"text","text":"odd","mention":{"mentionees":[{"index":-1,"length":99999,"type":"user"}]}"#,
        r#""type":"text","text":"🤨x","emojis":[{"index":1,"length":1,"productId":"<b>","emojiId":"<b>"}]"#,
        r#""type":"location","latitude":"north","longitude":1e999"#,
        r#""type":"image""#,
        r#""type":"file","fileName":"\udc00.pdf","fileSize":-5"#,
    ]
    .iter()
    .enumerate()
    .map(|(n, message)| {
        Event::raw(&format!(
            r#"{{"type":"message","message":{{"id":"55500{n}",{message}}},"webhookEventId":"01BROKEN{n}","timestamp":{},"source":{{"type":"user","userId":"{id}"}},"mode":"active","deliveryContext":{{"isRedelivery":false}}}}"#,
            at + n as i64
        ))
    })
    .collect()
}
