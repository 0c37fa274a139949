//! Messages of every kind, with a mark in every field that a person fills in, and in every file.

use line_chat_archive::fake_line::{Chat, Event, User, pictures};
use serde_json::json;

use crate::{marks::mark, world::World};

/// The number of messages; one in seven is not unsent.
const MESSAGES: usize = 590;
const LIVES: usize = 7;

/// Everything that is sent, and its marks.
#[derive(Default)]
pub struct Scene {
    /// The events to send, in order; edits follow their messages.
    pub sent: Vec<Event>,
    /// The messages to unsend.
    pub unsent: Vec<(User, Event)>,
    /// All marks; the lists below contain indices into it.
    pub marks: Vec<String>,
    /// The marks that are only in unsent messages.
    pub to_forget: Vec<usize>,
    /// The marks in messages that are not unsent, and in events that stay.
    pub to_keep: Vec<usize>,
    /// The marks in names of people and groups, and in status messages.
    pub names: Vec<usize>,
    photo: Vec<u8>,
}

impl Scene {
    pub fn new(world: &World) -> Self {
        let mut scene = Self {
            photo: pictures::photo(1, 64, 48).to_vec(),
            ..Self::default()
        };
        let people: Vec<User> = (0..10).map(|_| scene.person(world)).collect();
        let crew: Vec<&User> = people.iter().collect();
        let groups: Vec<Chat> = (0..3).map(|_| scene.group(world, &crew)).collect();
        for n in 0..MESSAGES {
            let lives = n % LIVES == LIVES - 1;
            let group = groups[n % 3].member(&people[n % 10]);
            let user = if n % 4 < 2 { &people[n % 10] } else { &group };
            scene.message(n, user, &group, lives);
        }
        for person in &people {
            let data = scene.mark(true);
            scene.sent.push(person.postback(&data).make());
        }
        scene
    }

    fn mark(&mut self, lives: bool) -> String {
        let list = if lives {
            &mut self.to_keep
        } else {
            &mut self.to_forget
        };
        list.push(self.marks.len());
        self.marks.push(mark());
        self.marks[self.marks.len() - 1].clone()
    }

    fn name(&mut self) -> String {
        self.names.push(self.marks.len());
        self.marks.push(mark());
        self.marks[self.marks.len() - 1].clone()
    }

    /// A mark of 48 bytes, the size of the tiny picture that stands in for a picture that is not there yet.
    fn colours(&mut self, lives: bool) -> String {
        let number = self.marks.len();
        self.mark(lives);
        self.marks[number].push_str(&mark());
        self.marks[number].push_str(&mark());
        self.marks[number].truncate(3 * 4 * 4);
        self.marks[number].clone()
    }

    fn person(&mut self, world: &World) -> User {
        let person = world.shop.user(&self.name());
        person.sets_status(&self.name());
        // The archive scales a picture down, which removes bytes after its end, so a mark there would be pointless.
        person.sets_picture(self.photo.clone());
        // LINE tells the status message only in a one-on-one chat, so the person writes there once.
        let hello = self.mark(true);
        self.sent.push(person.sends_text(&hello).make());
        person
    }

    fn group(&mut self, world: &World, members: &[&User]) -> Chat {
        let group = world.shop.group(&self.name(), members);
        group.pictured(self.photo.clone());
        group
    }

    /// Sends the message `n`, whose kind depends on `n`. Kinds that exist only in groups go to the group.
    fn message(&mut self, n: usize, user: &User, group: &User, lives: bool) {
        let first = self.mark(lives);
        let second = match n % 10 {
            2 | 3 => self.colours(lives),
            _ => self.mark(lives),
        };
        let third = self.mark(lives);
        let file = |mark: &str| format!("some bytes {mark} more bytes").into_bytes();
        let mut edits = vec![];
        let mut by = user;
        let message = match n % 10 {
            0 => user
                .sends_text(&format!("{first} {second}\n{third}"))
                .make(),
            1 => {
                by = group;
                let text = group.sends_text(&first).make();
                edits.push(group.edits(&text, &second).make());
                edits.push(group.edits(&text, &format!("x {third} \"y\"")).make());
                text
            }
            2 => user
                .sends_image([coloured(&second), first.into_bytes()].concat())
                .with_message("unknownField", json!(third))
                .make(),
            3 => user
                .sends_video(file(&first), 1000)
                .previewed_by(coloured(&second))
                .with("unknownField", json!([third]))
                .make(),
            4 => user
                .sends_audio(file(&first), 1000)
                .with("note", json!({ &second: third }))
                .make(),
            5 => user
                .sends_file(&format!("{first} 請求書 {second}.txt"), file(&third))
                .make(),
            6 => user
                .sends_location(&first, &format!("{second}, {third}"), 35.0, 139.0)
                .make(),
            7 => user
                .sends_sticker("1", "2")
                .keywords(&[&first, &second])
                .saying(&third)
                .make(),
            8 => {
                let text = format!("{first}{}{second}", " and so on, ad infinitum;".repeat(150));
                let earlier = self
                    .sent
                    .iter()
                    .rev()
                    .find(|event| !event.message_id().is_empty());
                let text = user.sends_text(&format!("{text}{third}"));
                match earlier {
                    Some(earlier) => text.quoting_id(earlier.message_id()).make(),
                    None => text.make(),
                }
            }
            _ => user
                .sends_unknown(
                    "hologram",
                    "body",
                    json!({ "a": first, "b": [second, third] }),
                )
                .make(),
        };
        self.sent.push(message.clone());
        self.sent.extend(edits);
        if !lives {
            self.unsent.push((by.clone(), message));
        }
    }
}

/// A PNG of four by four pixels whose colours are the mark; it can be followed by any bytes.
fn coloured(mark: &str) -> Vec<u8> {
    let pixels = image::RgbImage::from_raw(4, 4, mark.as_bytes().to_vec()).unwrap();
    let mut png = std::io::Cursor::new(vec![]);
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}
