//! The people and chats of the demo.

use super::lines::Language;
use crate::fake_line::{
    Channel, Chat, User,
    pictures::{self, Scene},
};

/// The people and their chats. `gathered` shows which account each person writes to.
pub(super) struct Cast {
    pub(super) aoi: User,
    pub(super) ken: User,
    pub(super) sakura: User,
    pub(super) meiling: User,
    pub(super) daming: User,
    pub(super) emma: User,
    pub(super) nattaporn: User,
    pub(super) somchai: User,
    pub(super) pim: User,
    pub(super) oliver: User,
    pub(super) yichun: User,
    /// The market stall's team, in the shop's channel.
    pub(super) market: Chat,
    /// Three people who share an order, in the shop's channel.
    pub(super) shared_order: Chat,
    /// A trip to Chiang Mai, in the travel desk's channel.
    pub(super) trip: Chat,
}

impl Cast {
    pub(super) fn gathered(tokyo: &Channel, bangkok: &Channel) -> Self {
        let [aoi, ken, sakura] = [
            ("佐藤 葵", "布と旅がすき"),
            ("田中 健", ""),
            ("小林さくら", "返信おそめです🙏"),
        ]
        .map(|who| person(tokyo, who, "ja"));
        let [meiling, daming] =
            [("林美玲", "慢慢來，比較快"), ("王大明", "")].map(|who| person(tokyo, who, "zh-TW"));
        let emma = person(tokyo, ("Emma Clarke", "Tokyo, for now"), "en");
        let [nattaporn, somchai, pim] = [
            ("ณัฐพร ใจดี", "กินเก่ง เที่ยวเก่ง"),
            ("สมชาย วงศ์ไทย", ""),
            ("พิม 🌼", "ยิ้มไว้ก่อน"),
        ]
        .map(|who| person(bangkok, who, "th"));
        let oliver = person(bangkok, ("Oliver Brandt", ""), "en");
        let yichun = person(bangkok, ("陳怡君", "四月去清邁"), "zh-TW");
        sakura.shows_no_picture();
        oliver.shows_no_picture();

        let market = tokyo.group("週末マルシェ出店チーム", &[&aoi, &ken, &meiling]);
        market.pictured(pictures::scene(Scene::Flowers, 5, 200, 200));
        let trip = bangkok.group("ทริปเชียงใหม่ 🐘", &[&nattaporn, &somchai, &pim]);
        trip.pictured(pictures::scene(Scene::Lake, 8, 200, 200));
        let shared_order = tokyo.room(&[&sakura, &daming, &emma]);
        Cast {
            aoi,
            ken,
            sakura,
            meiling,
            daming,
            emma,
            nattaporn,
            somchai,
            pim,
            oliver,
            yichun,
            market,
            shared_order,
            trip,
        }
    }

    /// Everybody who is still present after the history, once for each chat they write in.
    pub(super) fn speakers(&self) -> Vec<(User, Language)> {
        use Language::{Chinese, English, Japanese, Thai};
        vec![
            (self.aoi.clone(), Japanese),
            (self.sakura.clone(), Japanese),
            (self.ken.clone(), Japanese),
            (self.meiling.clone(), Chinese),
            (self.emma.clone(), English),
            (self.nattaporn.clone(), Thai),
            (self.pim.clone(), Thai),
            (self.oliver.clone(), English),
            (self.yichun.clone(), Chinese),
            (self.market.member(&self.aoi), Japanese),
            (self.market.member(&self.ken), Japanese),
            (self.market.member(&self.meiling), Chinese),
            (self.trip.member(&self.nattaporn), Thai),
            (self.trip.member(&self.somchai), Thai),
            (self.trip.member(&self.oliver), English),
            (self.shared_order.member(&self.emma), English),
            (self.shared_order.member(&self.sakura), Japanese),
        ]
    }
}

fn person(channel: &Channel, (name, status): (&str, &str), language: &str) -> User {
    let user = channel.user(name);
    user.speaks(language);
    user.sets_status(status);
    user
}
