//! Albums: pictures that were sent together (LINE's image sets).
//!
//! Each picture is a message of its own, and LINE delivers them in any order, or some of them not at all. An album is
//! shown at the position of its first picture, in the order of the indexes; a missing picture keeps an empty slot.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Body, Context, Entry, Media, RUN, Row, media};
use crate::{
    line::message::{Content, ImageSet},
    records::{
        conversations::{Cursor, EntryKind},
        gallery::{self, Direction},
    },
    seal::Keyring,
    web::conversation::preview,
};

/// Pictures of one set are sent within this time.
const SPAN: TimeDelta = TimeDelta::hours(1);
/// The most pictures beyond an edge of a page that are searched for those of a set.
const MAX_SEARCHED_MESSAGES: i64 = 100;
/// The most missing pictures that get empty slots; if more are missing, none does. LINE's app sends twenty pictures at
/// once.
const MOST_MISSING: u64 = 20;

/// The sender and the id of the set: LINE does not say that ids of sets are unique across senders.
pub(super) type Key = (Option<Uuid>, String);

/// The pictures of one set, or a single picture.
pub(in crate::web) struct Album {
    photos: Vec<Photo>,
    /// Number of pictures in the set; 0: not known.
    total: u64,
    /// True if a message sent near the set was unsent or erased, or may have been. The archive cannot tell any more
    /// whether it belonged to the set.
    maybe_erased: bool,
}

/// A picture of an album, with the id of its message.
pub(in crate::web) struct Photo {
    pub(in crate::web) message: Uuid,
    pub(in crate::web) media: Media,
    /// Its index in the set, from 1; `u64::MAX` if LINE did not send one.
    place: u64,
    /// True: the picture has an anchor of its own to jump to. The first one has the anchor of its entry.
    pub(in crate::web) apart: bool,
}

/// A slot of an album.
pub(in crate::web) enum Slot<'a> {
    Photo(&'a Photo),
    /// A missing picture: the sentence that says which one.
    Missing(String),
}

impl Album {
    pub(super) fn new(message: Uuid, media: Media, set: Option<&ImageSet>) -> Self {
        let mut album = Self {
            photos: vec![],
            total: set.and_then(|set| set.total).unwrap_or_default(),
            maybe_erased: false,
        };
        album.put(message, media, set, false);
        album
    }

    /// Inserts a photo by its index; photos without one follow at the end, in the order in which they came.
    pub(super) fn add(&mut self, message: Uuid, media: Media, set: &ImageSet) {
        self.put(message, media, Some(set), true);
    }

    fn put(&mut self, message: Uuid, media: Media, set: Option<&ImageSet>, apart: bool) {
        let index = set.and_then(|set| set.index);
        let place = index.filter(|index| *index >= 1).unwrap_or(u64::MAX);
        let at = self.photos.partition_point(|other| other.place <= place);
        let photo = Photo {
            message,
            media,
            place,
            apart,
        };
        self.photos.insert(at, photo);
    }

    /// The indexes that are missing. Empty if more than [`MOST_MISSING`] are missing, or if a photo has no index or one
    /// beyond the total: then it is not known which are missing.
    fn missing(&self) -> Vec<u64> {
        let taken: HashSet<_> = self.photos.iter().map(|photo| photo.place).collect();
        let lacking = self.total.saturating_sub(self.photos.len() as u64);
        if lacking == 0 || lacking > MOST_MISSING || taken.iter().any(|place| *place > self.total) {
            return vec![];
        }
        (1..=self.total)
            .filter(|place| !taken.contains(place))
            .collect()
    }

    /// All slots, in order.
    pub(in crate::web) fn slots(&self) -> Vec<Slot<'_>> {
        let mut missing = self.missing().into_iter().peekable();
        let mut slots = vec![];
        let say = |place: u64| {
            let total = self.total;
            Slot::Missing(match self.maybe_erased {
                false => format!("Photo {place} of {total} has not arrived"),
                true => format!("Photo {place} of {total} is not here: not arrived, or taken back"),
            })
        };
        for photo in &self.photos {
            while let Some(place) = missing.next_if(|place| *place < photo.place) {
                slots.push(say(place));
            }
            slots.push(Slot::Photo(photo));
        }
        slots.extend(missing.map(say));
        slots
    }

    /// True for several photos: each is a message, with actions of its own.
    pub(in crate::web) fn is_several(&self) -> bool {
        self.photos.len() > 1
    }

    /// Name of the layout by the number of slots: `one`, `two`, `three`, `four` or `many`.
    pub(in crate::web) fn layout(&self) -> &'static str {
        match self.photos.len() + self.missing().len() {
            1 => "one",
            2 => "two",
            3 => "three",
            4 => "four",
            _ => "many",
        }
    }

    /// "3 of 5 photos", if photos are missing and it is not known which.
    pub(in crate::web) fn count(&self) -> Option<String> {
        let here = self.photos.len();
        (self.total > here as u64 && self.missing().is_empty() && self.total <= 1000)
            .then(|| format!("{here} of {} photos", self.total))
    }

    fn has(&self, message: Uuid) -> bool {
        self.photos.iter().any(|photo| photo.message == message)
    }
}

/// The set that an image belongs to.
pub(super) fn set_of(row: &Row) -> Option<ImageSet> {
    if row.entry.entry_kind != EntryKind::Message || row.entry.kind != "image" {
        return None;
    }
    match row.event.as_ref()?.content() {
        Content::Image(set) => set,
        _ => None,
    }
}

/// The albums of a page: the index of each one's entry, and when its first picture was sent.
#[derive(Default)]
pub(super) struct Albums {
    places: HashMap<Key, (usize, DateTime<Utc>)>,
    /// Timestamps of messages that were unsent or erased: when they were sent.
    gone: Vec<DateTime<Utc>>,
}

impl Albums {
    /// Notes a message that was unsent or erased; `at` is when it was sent.
    pub(super) fn note_erased(&mut self, at: DateTime<Utc>) {
        self.gone.push(at);
    }

    /// Adds a picture to the album of its set and returns true. Returns false for the first picture of a set: the
    /// caller makes its entry, which gets the index `next`.
    pub(super) fn join(
        &mut self,
        row: &Row,
        set: &ImageSet,
        next: usize,
        entries: &mut [Entry],
    ) -> bool {
        let key = (row.entry.contact_id, set.id.clone());
        let at = self
            .places
            .entry(key)
            .or_insert((next, row.entry.occurred_at))
            .0;
        let Some(Body::Photos(album)) = entries.get_mut(at).map(|entry| &mut entry.body) else {
            return false;
        };
        album.add(row.entry.id, media::image(&row.entry.attachment), set);
        true
    }

    /// Adds the pictures beyond the edges of the page: an album on two pages is complete on both.
    pub(super) fn complete(self, entries: &mut [Entry], context: &Context) {
        let edges = &context.edges;
        for (at, sent) in self.places.values() {
            if let Body::Photos(album) = &mut entries[*at].body {
                // A message beyond an edge may have been unsent or erased as well.
                album.maybe_erased =
                    edges.cut(*sent) || self.gone.iter().any(|gone| (*gone - sent).abs() < RUN);
            }
        }
        for picture in &context.beyond {
            let key = (picture.item.contact_id, picture.set.id.clone());
            let Some((at, _)) = self.places.get(&key) else {
                continue;
            };
            if let Body::Photos(album) = &mut entries[*at].body
                && !album.has(picture.item.id)
            {
                let photo = media::image(&picture.item.attachment);
                album.add(picture.item.id, photo, &picture.set);
            }
        }
    }
}

/// The edges of a page beyond which there are more entries.
#[derive(Clone, Copy)]
pub(super) struct Edges {
    pub(super) older: Option<Cursor>,
    pub(super) newer: Option<DateTime<Utc>>,
}

impl Edges {
    fn cut(&self, sent: DateTime<Utc>) -> bool {
        self.older.is_some_and(|edge| sent - edge.at < RUN)
            || self.newer.is_some_and(|edge| edge - sent < RUN)
    }

    /// The edges beyond which pictures of the page's sets may be, each once.
    pub(super) fn cutting_sets(&self, rows: &[Row]) -> Vec<(Direction, Cursor)> {
        let mut sets: HashMap<Key, (DateTime<Utc>, u64, u64)> = HashMap::new();
        for row in rows {
            if let Some(set) = set_of(row) {
                let (sent, total) = (row.entry.occurred_at, set.total.unwrap_or_default());
                let key = (row.entry.contact_id, set.id);
                sets.entry(key).or_insert((sent, 0, total)).1 += 1;
            }
        }
        let incomplete = || sets.values().filter(|(_, photos, total)| photos < total);
        let older = self
            .older
            .filter(|edge| incomplete().any(|(sent, ..)| *sent - edge.at < SPAN))
            .map(|edge| (Direction::Older, edge));
        let newer = self
            .newer
            .filter(|edge| incomplete().any(|(sent, ..)| *edge - sent < SPAN))
            .map(|at| {
                let id = Uuid::nil();
                (Direction::Newer, Cursor { at, id })
            });
        older.into_iter().chain(newer).collect()
    }
}

/// A picture beyond an edge of the page, with its set.
pub(super) struct Beyond {
    item: gallery::Item,
    set: ImageSet,
}

/// Reads the pictures beyond these edges that belong to sets.
pub(super) async fn load(
    conn: &mut PgConnection,
    keyring: &Keyring,
    conversation: Uuid,
    edges: Vec<(Direction, Cursor)>,
) -> sqlx::Result<Vec<Beyond>> {
    let mut found = vec![];
    for edge in edges {
        let limit = MAX_SEARCHED_MESSAGES;
        let items = gallery::files(conn, keyring, conversation, "image", edge, limit).await?;
        found.extend(items.into_iter().filter_map(|item| {
            let event = preview::parse(item.content.as_deref())?;
            match event.content() {
                Content::Image(Some(set)) => Some(Beyond { item, set }),
                _ => None,
            }
        }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(index: Option<u64>, total: Option<u64>) -> ImageSet {
        ImageSet {
            id: "S".to_owned(),
            index,
            total,
        }
    }

    /// How an album is shown after these photos arrived, in this order.
    fn shown(arrived: &[Option<u64>], total: Option<u64>) -> (Vec<String>, &'static str) {
        let photo = |index: Option<u64>| {
            let mut media = Media::named("");
            media.duration = Some(index.map_or("?".to_owned(), |index| index.to_string()));
            media
        };
        let id = Uuid::nil();
        let first = set(arrived[0], total);
        let mut album = Album::new(id, photo(arrived[0]), Some(&first));
        for index in &arrived[1..] {
            album.add(id, photo(*index), &set(*index, total));
        }
        let slots = album.slots();
        let words = slots.iter().map(|slot| match slot {
            Slot::Photo(photo) => photo.media.duration.clone().unwrap_or_default(),
            Slot::Missing(words) => words.clone(),
        });
        let mut words: Vec<_> = words.collect();
        words.extend(album.count());
        (words, album.layout())
    }

    /// Every permutation of the numbers.
    fn orders(of: &[u64]) -> Vec<Vec<u64>> {
        if of.len() < 2 {
            return vec![of.to_vec()];
        }
        let mut all = vec![];
        for (at, first) in of.iter().enumerate() {
            let rest = [&of[..at], &of[at + 1..]].concat();
            for mut order in orders(&rest) {
                order.insert(0, *first);
                all.push(order);
            }
        }
        all
    }

    #[test]
    fn photos_stand_in_the_order_of_their_index_whatever_came_first_and_whatever_is_missing() {
        for mask in 1..32_u64 {
            let there: Vec<u64> = (1..=5).filter(|n| mask & (1 << (n - 1)) != 0).collect();
            let expected: Vec<_> = (1..=5)
                .map(|n| match there.contains(&n) {
                    true => n.to_string(),
                    false => format!("Photo {n} of 5 has not arrived"),
                })
                .collect();
            for order in orders(&there) {
                let arrived: Vec<_> = order.iter().copied().map(Some).collect();
                assert_eq!(
                    shown(&arrived, Some(5)),
                    (expected.clone(), "many"),
                    "{order:?}"
                );
            }
        }
    }

    #[test]
    fn what_line_does_not_tell_is_not_made_up() {
        // Photos without an index come last, in the order of arrival; it is not known which are missing.
        let all = (["1", "2", "?"].map(str::to_owned).to_vec(), "three");
        assert_eq!(shown(&[Some(2), None, Some(1)], Some(3)), all);
        assert_eq!(
            shown(&[None, Some(2)], Some(3)).0,
            ["2", "?", "2 of 3 photos"]
        );
        // No total, or an impossible one.
        assert_eq!(shown(&[Some(3), Some(1)], None).0, ["1", "3"]);
        assert_eq!(shown(&[Some(3), Some(1)], Some(1)).0, ["1", "3"]);
        assert_eq!(shown(&[Some(1)], Some(u64::MAX)).0, ["1"]);
        assert_eq!(shown(&[Some(0)], Some(2)).0, ["0", "1 of 2 photos"]);
        // Two photos with the same index are both shown.
        let twice = shown(&[Some(1), Some(1)], Some(3)).0;
        assert_eq!(twice.len(), 4);
    }
}
