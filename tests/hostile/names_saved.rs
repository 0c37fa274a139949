//! Senders choose file names: a name is shown as text, it cannot break out of its header, and the file saved under it
//! stays in its directory.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, ensure};
use line_chat_archive::fake_line::Event;

use crate::{
    all,
    downloads::Downloads,
    memory, names,
    world::{PAGE_TIMEOUT, World},
};

/// The number of files that each person sends: as many as one page shows.
const PER_PERSON: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_text_on_the_page_a_word_in_the_header_and_harmless_on_the_disk() {
    let world = World::new().await.expect("a world");
    saved(&world).await.expect("the test");
    world.stop().await;
}

async fn saved(world: &World) -> anyhow::Result<()> {
    let names = names::all();
    ensure!(names.len() >= 1_000, "{}", names.len());
    let mut of = HashMap::new();
    for (n, some) in names.chunks(PER_PERSON).enumerate() {
        let person = world.shop.user(&format!("Person {n}"));
        let events: Vec<Event> = some
            .iter()
            .map(|name| {
                let event = person.sends_file(name, &b"just bytes"[..]).make();
                of.insert(event.message_id().to_owned(), name.clone());
                Event::raw(&event.json().replace("LONE", r"\ud83e"))
            })
            .collect();
        world.deliver(&events).await?;
    }
    let turn = memory::TURN.lock().await;
    world.run_jobs().await?;
    drop(turn);
    let attachments = world.attachments().await?;
    ensure!(attachments.len() == names.len(), "{}", attachments.len());

    let visitor = world.visitor("mia").await;
    for (id, message) in &attachments {
        let name = &of[message];
        let answer = visitor.get(&format!("/attachments/{id}")).await;
        let header = answer.headers().get_all("content-disposition");
        let header: Vec<_> = header.iter().collect();
        ensure!(header.len() == 1, "{name:?}: {header:?}");
        let header = header[0].to_str()?;
        let parsed = parse(header).with_context(|| format!("{name:?}: {header}"))?;
        for saved in parsed {
            harmless(&saved).with_context(|| format!("{name:?}: {header}"))?;
        }
        ensure!(answer.headers().get("set-cookie").is_none(), "{name:?}");
        let type_ = answer.headers().get("content-type").context("a type")?;
        ensure!(type_ == "application/octet-stream", "{name:?}: {type_:?}");
        ensure!(answer.bytes().await? == "just bytes", "{name:?}");
    }

    let browser = world.desk().await?;
    let downloads = Downloads::of(&browser).await?;
    browser.requests().await?;
    let mut shown = 0;
    for conversation in world.conversations().await? {
        let page = format!("{}/conversations/{conversation}", world.site());
        browser.goto(&page).await?;
        let tiles = "[...document.querySelectorAll('a.tile')].map(tile =>
            [tile.querySelector('p').children.length, tile.querySelector('bdi').textContent, tile.pathname])";
        let tiles = browser.wait_until(tiles, PAGE_TIMEOUT).await?;
        let found: Vec<(usize, String, String)> = serde_json::from_value(tiles)?;
        let shown_here = found.len();
        ensure!(
            shown_here == PER_PERSON,
            "{shown_here} of {PER_PERSON} are shown at {page}"
        );
        for (children, text, path) in found {
            let id = path.trim_start_matches("/attachments/");
            let (_, message) = attachments
                .iter()
                .find(|(attachment, _)| attachment.to_string() == id)
                .context("an attachment")?;
            let name = &of[message];
            ensure!(children == 1, "{name:?} is more than a name");
            // A page may show control characters by their codes, but shows these words unchanged, markup included.
            for word in [
                "<script",
                "<img",
                "alert(1)",
                "見積書",
                "javascript:",
                "{{7*7}}",
                "passwd",
            ] {
                ensure!(
                    text.contains(word) == name.contains(word),
                    "{name:?} is shown as {text:?}"
                );
            }
            // The direction marks of right-to-left scripts stay: the page isolates the name, so they affect nothing
            // else.
            let turned = |c: char| turns(c) && !"\u{200e}\u{200f}".contains(c);
            ensure!(!text.contains(turned), "{name:?} is shown as {text:?}");
            shown += 1;
        }
        let hacked = browser
            .eval("document.querySelector('.hacked')?.outerHTML ?? null")
            .await?;
        ensure!(hacked.is_null(), "{page}: {hacked}");
    }
    ensure!(shown == names.len(), "{shown} are shown");

    let every = if all() { 1 } else { 20 };
    let mut wanted = HashSet::new();
    for (id, message) in attachments.iter().step_by(every) {
        let name = &of[message];
        browser
            .goto(&format!("{}/attachments/{id}", world.site()))
            .await
            .with_context(|| format!("{name:?}"))?;
        let answer = visitor.get(&format!("/attachments/{id}")).await;
        let header = answer.headers().get("content-disposition");
        let names = parse(header.context("a header")?.to_str()?);
        // Chromium does not save a name that begins like a home directory.
        wanted.extend(names.map(|[_, name]| match name.strip_prefix('~') {
            Some(rest) => format!("_{rest}"),
            None => name,
        }));
    }
    let found = downloads.all(wanted.len()).await?;
    let found_as = |names: &HashSet<String>| names.iter().map(|name| folded(name)).collect();
    let (found_so, wanted_so): (HashSet<String>, HashSet<String>) =
        (found_as(&found), found_as(&wanted));
    ensure!(
        found_so == wanted_so,
        "{:?}",
        found_so.symmetric_difference(&wanted_so)
    );
    for name in &found {
        harmless(name).with_context(|| format!("saved as {name:?}"))?;
    }
    ensure!(downloads.astray()?.is_empty(), "{:?}", downloads.astray()?);
    for url in browser.requests().await? {
        let inside = url.starts_with(&world.site()) || url.starts_with("data:");
        ensure!(inside, "{url} was asked for");
    }
    Ok(())
}

/// The two names in `attachment; filename="…"; filename*=UTF-8''…`, parsed strictly by RFC 6266 and RFC 8187.
fn parse(header: &str) -> Option<[String; 2]> {
    let rest = header.strip_prefix("attachment; filename=\"")?;
    let (plain, rest) = rest.split_once('"')?;
    // No escapes, which browsers interpret differently, and only printable ASCII.
    let printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if plain.is_empty() || !printable(plain) || plain.contains(['\\', '%', '"']) {
        return None;
    }
    let value = rest.strip_prefix("; filename*=UTF-8''")?;
    let mut bytes = vec![];
    let mut chars = value.bytes();
    while let Some(byte) = chars.next() {
        match byte {
            b'%' => {
                let two = [chars.next()?, chars.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&two).ok()?, 16).ok()?);
            }
            _ if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) => {
                bytes.push(byte)
            }
            _ => return None,
        }
    }
    Some([plain.to_owned(), String::from_utf8(bytes).ok()?])
}

/// A name without accents, because Chromium may compose letters and accents.
fn folded(name: &str) -> String {
    name.replace('é', "e")
        .replace('É', "E")
        .replace(|c| ('\u{300}'..='\u{36f}').contains(&c), "")
}

/// Checks that a file with this name is harmless in a directory on any system.
fn harmless(name: &str) -> anyhow::Result<()> {
    ensure!(
        !name.is_empty() && name.len() <= 255,
        "{} bytes",
        name.len()
    );
    let bad = |c: char| c.is_control() || turns(c) || r#"/\:*?"<>|"#.contains(c);
    ensure!(!name.contains(bad), "a character");
    ensure!(name == name.trim() && !name.ends_with('.'), "its ends");
    ensure!(!name.starts_with('.'), "hidden");
    let stem = name.split('.').next().unwrap_or_default().trim();
    let stem = stem.to_uppercase();
    let devices = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    ensure!(!devices.contains(&stem.as_str()), "a device");
    for port in ["COM", "LPT"] {
        let number = stem.strip_prefix(port).unwrap_or_default();
        let ports = [
            "1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "¹", "²", "³",
        ];
        ensure!(!ports.contains(&number), "a device");
    }
    Ok(())
}

/// Whether a character changes the text direction, or is invisible.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
