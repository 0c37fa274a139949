//! Pictures that were sent together.

use super::{Media, Row};
use crate::line::message::{Content, ImageSet};

/// The pictures of one set, in the order they were chosen; or one alone.
pub(in crate::web) struct Album {
    pub(in crate::web) photos: Vec<Media>,
    /// How many there should be.
    total: usize,
    /// The place of each photo in the set.
    order: Vec<u64>,
}

impl Album {
    pub(super) fn new(photo: Media, set: Option<&ImageSet>) -> Self {
        let total = set.and_then(|set| set.total).unwrap_or_default();
        Self {
            photos: vec![photo],
            total: usize::try_from(total).unwrap_or_default(),
            order: vec![place(set)],
        }
    }

    /// Puts a photo where its index says; those without one stay in the order they came.
    pub(super) fn add(&mut self, photo: Media, set: &ImageSet) {
        let place = place(Some(set));
        let at = self.order.partition_point(|other| *other <= place);
        self.order.insert(at, place);
        self.photos.insert(at, photo);
    }

    /// For the layout: 1, 2, 3, 4, or `many`.
    pub(in crate::web) fn layout(&self) -> &'static str {
        match self.photos.len() {
            1 => "one",
            2 => "two",
            3 => "three",
            4 => "four",
            _ => "many",
        }
    }

    /// "3 of 5 photos", where some are missing: not yet come, or unsent.
    pub(in crate::web) fn missing(&self) -> Option<String> {
        let here = self.photos.len();
        (self.total > here && self.total <= 100).then(|| format!("{here} of {} photos", self.total))
    }
}

fn place(set: Option<&ImageSet>) -> u64 {
    set.and_then(|set| set.index).unwrap_or(u64::MAX)
}

/// The set an image belongs to.
pub(super) fn set_of(row: &Row) -> Option<ImageSet> {
    if row.entry.what != "message" || row.entry.kind != "image" {
        return None;
    }
    match Content::of(&row.event.as_ref()?.body()["message"]) {
        Content::Image(set) => set,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_stand_in_the_order_of_their_index() {
        let set = |index| ImageSet {
            id: "S".to_owned(),
            index,
            total: Some(4),
        };
        let mut album = Album::new(Media::named("3"), Some(&set(Some(3))));
        album.add(Media::named("1"), &set(Some(1)));
        album.add(Media::named("?"), &set(None));
        album.add(Media::named("2"), &set(Some(2)));
        let order: Vec<_> = album.photos.iter().map(|photo| photo.words).collect();
        assert_eq!(order, ["1", "2", "3", "?"]);
        assert_eq!(album.layout(), "four");
        assert_eq!(album.missing(), None);
    }
}
