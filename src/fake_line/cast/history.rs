//! The demo's history: the scenes of the past days.

use serde_json::json;

use super::{people::Cast, stage::Stage};
use crate::fake_line::{
    Membership,
    pictures::{self, Scene},
};

/// The product id of LINE's own emojis.
const EMOJIS: &str = "5ac1bfd5040ab15980c9b435";
const BEACH_VIDEO: &[u8] = include_bytes!("../assets/beach.mp4");
const VOICE: &[u8] = include_bytes!("../assets/melody.m4a");
const QUOTATION: &[u8] = include_bytes!("../assets/quotation.pdf");
const ORDERS: &[u8] = include_bytes!("../assets/orders.xlsx");

/// Plays all scenes, oldest first, and then moves to the present.
pub(super) async fn tell(stage: &mut Stage, cast: &Cast) {
    stage.hours_ago(116.0);
    a_bag_in_stock(stage, cast).await;
    stage.hours_ago(102.5);
    a_tour_for_four(stage, cast).await;
    stage.hours_ago(94.0);
    the_market_team_meets(stage, cast).await;
    stage.hours_ago(77.2);
    a_torn_parcel(stage, cast).await;
    stage.hours_ago(70.0);
    shipping_to_taipei(stage, cast).await;
    stage.hours_ago(53.0);
    on_the_way_to_chiang_mai(stage, cast).await;
    stage.hours_ago(47.5);
    an_order_shared_by_three(stage, cast).await;
    stage.hours_ago(30.0);
    papers_for_the_market(stage, cast).await;
    stage.hours_ago(25.0);
    small_happenings(stage, cast).await;
    stage.hours_ago(6.0);
    today(stage, cast).await;
    stage.arrive();
}

async fn a_bag_in_stock(stage: &mut Stage, cast: &Cast) {
    let aoi = &cast.aoi;
    stage.tell(aoi.follows()).await;
    stage
        .tell(aoi.sends_text("はじめまして。インスタで見たトートバッグ、まだ在庫はありますか？"))
        .await;
    let bag = stage.photo(Scene::Bag).await;
    let photo = stage.tell(aoi.sends_image(bag)).await;
    stage
        .tell(
            aoi.sends_text("この色です。A4のファイルが入る大きさだとうれしいです。")
                .quoting(&photo),
        )
        .await;
    stage
        .tell(aoi.postback_with("action=pickup", json!({"date": "2026-11-28"})))
        .await;
    stage
        .tell(
            aoi.sends_text("では土曜日に伺います(happy)")
                .emoji("(happy)", EMOJIS, "002"),
        )
        .await;
    let thanks = aoi
        .sends_sticker("11537", "52002734")
        .resource("ANIMATION")
        .keywords(&["thanks", "happy", "bow"]);
    stage.tell(thanks).await;
}

async fn a_tour_for_four(stage: &mut Stage, cast: &Cast) {
    let (nattaporn, yichun) = (&cast.nattaporn, &cast.yichun);
    stage.tell(nattaporn.follows()).await;
    stage
        .tell(nattaporn.sends_text("สวัสดีค่ะ สนใจทัวร์เชียงใหม่ 3 วัน 2 คืน สำหรับ 4 คนค่ะ"))
        .await;
    stage
        .tell(nattaporn.sends_text("ออกเดินทางวันศุกร์ กลับวันอาทิตย์ มีที่ว่างไหมคะ"))
        .await;
    let gate = "ถนนท่าแพ ตำบลช้างคลาน อำเภอเมืองเชียงใหม่ 50100";
    stage
        .tell(nattaporn.sends_location("ประตูท่าแพ", gate, 18.787_747, 98.993_128))
        .await;
    stage
        .tell(nattaporn.sends_text("ขอโรงแรมใกล้ๆ ตรงนี้นะคะ 🙏"))
        .await;
    stage.tell(yichun.follows()).await;
    stage
        .tell(yichun.sends_text("你好，請問十二月的清邁行程還可以報名嗎？兩位大人。"))
        .await;
    let view = stage.photo(Scene::Lake).await;
    stage.tell(yichun.sends_image(view)).await;
    stage
        .tell(yichun.sends_text("想去照片裡的這個湖，大概離市區多遠？"))
        .await;
}

async fn the_market_team_meets(stage: &mut Stage, cast: &Cast) {
    let market = &cast.market;
    let (aoi, ken, meiling) = (
        market.member(&cast.aoi),
        market.member(&cast.ken),
        market.member(&cast.meiling),
    );
    stage.tell(market.bot_joins()).await;
    let question = ken.sends_text("土曜のマルシェ、搬入は朝7時で大丈夫ですか？ @佐藤 葵 @林美玲");
    let question = question
        .mentioning("@佐藤 葵", &cast.aoi)
        .mentioning("@林美玲", &cast.meiling);
    let question = stage.tell(question).await;
    stage
        .tell(
            aoi.sends_text("7時半だと助かります💦 電車が7時12分着なので")
                .quoting(&question),
        )
        .await;
    let late = stage
        .tell(meiling.sends_text("我可以，桌子跟布我帶去。需要幾張桌子？"))
        .await;
    let plan = stage
        .tell(ken.sends_text("では7時半集合、南口の改札前で！テーブルは3台"))
        .await;
    stage
        .tell(ken.edits(&plan, "では7時半集合、東口の改札前で！テーブルは4台"))
        .await;
    stage
        .tell(meiling.sends_text("四張，OK👌").quoting(&late))
        .await;
    stage
        .tell(
            aoi.sends_sticker("6359", "11069851")
                .saying("いつもありがとう！葵より"),
        )
        .await;
    let emma = market.member(&cast.emma);
    stage.tell(market.joined(&[&cast.emma])).await;
    stage
        .tell(
            emma.sends_text("Hi all, happy to help with the English signs (star)")
                .emoji("(star)", EMOJIS, "010"),
        )
        .await;
    let shop = ken
        .sends_text("@Shop 当日の天気予報も教えてください")
        .mentioning_bot("@Shop");
    stage.tell(shop).await;
}

async fn a_torn_parcel(stage: &mut Stage, cast: &Cast) {
    let emma = &cast.emma;
    stage.tell(emma.follows()).await;
    stage
        .tell(emma.sends_text(
            "Hello! My order A-20397 came today, but the box is torn open at one corner.",
        ))
        .await;
    let parcel = stage.photo(Scene::Parcel).await;
    let photo = stage.tell(emma.sends_image(parcel)).await;
    stage
        .tell(
            emma.sends_text("The bag itself seems fine. Should I keep the box for the carrier?")
                .quoting(&photo),
        )
        .await;
    let address = stage
        .tell(emma.sends_text("My address is 4-12-9-302 Koenji-Minami, phone 080-0000-4417"))
        .await;
    stage.tell(emma.unsends(&address)).await;
    stage
        .tell(emma.sends_text("Sorry, I'd rather give you the address by phone 😅"))
        .await;
}

async fn shipping_to_taipei(stage: &mut Stage, cast: &Cast) {
    let (meiling, daming) = (&cast.meiling, &cast.daming);
    stage
        .tell(meiling.sends_text("請問可以寄到台北嗎？國際運費大概多少？"))
        .await;
    let receipt = stage.photo(Scene::Receipt).await;
    stage.tell(meiling.sends_image(receipt)).await;
    stage
        .tell(meiling.sends_text("這是上次的收據，希望跟那次一樣的寄送方式。"))
        .await;
    stage.tell(daming.follows()).await;
    stage
        .tell(daming.sends_text("你好，看到布包很喜歡，可以客製化印公司的標誌嗎？大約五十個。"))
        .await;
    stage
        .tell(daming.links_account("bm9uY2UtMjAyNi0xMS0yMA"))
        .await;
    stage
        .tell(daming.membership(Membership::Joined, 3_189))
        .await;
}

async fn on_the_way_to_chiang_mai(stage: &mut Stage, cast: &Cast) {
    let trip = &cast.trip;
    let (nattaporn, somchai, pim) = (
        trip.member(&cast.nattaporn),
        trip.member(&cast.somchai),
        trip.member(&cast.pim),
    );
    stage.tell(trip.bot_joins()).await;
    stage
        .tell(somchai.sends_text("ถึงเชียงใหม่แล้วครับทุกคน อากาศดีมาก 18 องศา"))
        .await;
    let mut photos = Vec::new();
    for scene in [Scene::Lake, Scene::Sunset, Scene::Coffee, Scene::Ramen] {
        photos.push(stage.photo(scene).await);
    }
    for photo in pim.sends_image_set(photos) {
        stage.tell(photo).await;
    }
    let praise = nattaporn
        .sends_text("สวยมากกก @พิม 🌼 ถ่ายด้วยกล้องอะไรคะ")
        .mentioning("@พิม 🌼", &cast.pim);
    let praise = stage.tell(praise).await;
    stage
        .tell(pim.sends_text("มือถือธรรมดาเลยค่ะ 555").quoting(&praise))
        .await;
    let first = pictures::scene(Scene::Beach, 43, 480, 360);
    stage
        .tell(
            somchai
                .sends_video(BEACH_VIDEO, 3_000)
                .previewed_by(first)
                .preparing(1),
        )
        .await;
    stage.tell(trip.joined(&[&cast.oliver])).await;
    let oliver = trip.member(&cast.oliver);
    stage
        .tell(
            oliver
                .sends_text("Hey @All, I land at 18:05. Which gate is the van at?")
                .mentioning_all("@All"),
        )
        .await;
    stage.tell(somchai.sends_audio(VOICE, 4_000)).await;
    let time = stage
        .tell(nattaporn.sends_text("พรุ่งนี้รถออก 8 โมงนะคะ อย่าสาย"))
        .await;
    stage
        .tell(nattaporn.edits(&time, "พรุ่งนี้รถออก 7 โมงครึ่งนะคะ อย่าสาย"))
        .await;
    let airport = "60 ถนนสนามบิน ตำบลสุเทพ อำเภอเมืองเชียงใหม่ 50200";
    stage
        .tell(somchai.sends_location("ท่าอากาศยานเชียงใหม่", airport, 18.766_847, 98.962_643))
        .await;
    stage.tell(trip.left(&[&cast.pim])).await;
}

async fn an_order_shared_by_three(stage: &mut Stage, cast: &Cast) {
    let room = &cast.shared_order;
    let (sakura, daming, emma) = (
        room.member(&cast.sakura),
        room.member(&cast.daming),
        room.member(&cast.emma),
    );
    stage.tell(room.bot_joins()).await;
    stage
        .tell(sakura.sends_text("3人でまとめて注文すると送料が無料になるそうです！"))
        .await;
    stage
        .tell(daming.sends_text("太好了，我要兩個，深藍色。"))
        .await;
    let wish = stage
        .tell(emma.sends_text("One natural and one red for me, please."))
        .await;
    stage
        .tell(
            sakura
                .sends_text("まとめて注文しておきますね☺️")
                .quoting(&wish),
        )
        .await;
    let surprise = stage
        .tell(daming.sends_text("其實這是給我太太的驚喜，別告訴她🤫"))
        .await;
    stage.tell(daming.unsends(&surprise)).await;
}

async fn papers_for_the_market(stage: &mut Stage, cast: &Cast) {
    let (aoi, ken) = (cast.market.member(&cast.aoi), cast.market.member(&cast.ken));
    stage
        .tell(
            ken.sends_file("お見積書_トートバッグ.pdf", QUOTATION)
                .served_as("application/pdf"),
        )
        .await;
    let sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    let orders = stage
        .tell(
            ken.sends_file("注文一覧 2026-11.xlsx", ORDERS)
                .served_as(sheet),
        )
        .await;
    stage
        .tell(
            aoi.sends_text("確認しました。12個で26,400円ですね")
                .quoting(&orders),
        )
        .await;
    let flowers = stage.photo(Scene::Flowers).await;
    stage.tell(aoi.sends_image(flowers)).await;
    stage
        .tell(aoi.sends_text("ブースに飾るお花はこれにしました🌸"))
        .await;
}

async fn small_happenings(stage: &mut Stage, cast: &Cast) {
    let (sakura, somchai, oliver) = (&cast.sakura, &cast.somchai, &cast.oliver);
    stage.tell(sakura.meets_beacon("d41d8cd98f", "enter")).await;
    stage
        .tell(sakura.sends_text("お店の前に着きました。傘立てはありますか？"))
        .await;
    let menu = json!({"newRichMenuAliasId": "menu-b", "status": "SUCCESS"});
    stage
        .tell(sakura.postback_with("action=switch-menu", menu))
        .await;
    stage
        .tell(somchai.postback_with("action=book", json!({"datetime": "2026-11-27T08:00"})))
        .await;
    stage
        .tell(somchai.watches_to_the_end("safety-video-7"))
        .await;
    stage.tell(oliver.follows()).await;
    stage
        .tell(oliver.sends_text("Good evening. Could you add travel insurance to booking BK-7714?"))
        .await;
    stage
        .tell(
            oliver
                .does("membershipCardShown")
                .with("membershipCard", json!({"tier": "gold"})),
        )
        .await;
    stage.tell(cast.daming.unfollows()).await;
    stage.tell(cast.pim.unfollows()).await;
    stage.tell(cast.pim.unblocks()).await;
}

async fn today(stage: &mut Stage, cast: &Cast) {
    let (aoi, ken, pim) = (&cast.aoi, &cast.ken, &cast.pim);
    stage
        .tell(pim.sends_text("กลับถึงกรุงเทพแล้วค่ะ ขอบคุณสำหรับทริปดีๆ นะคะ 🧡"))
        .await;
    let city = stage.photo(Scene::City).await;
    stage.tell(pim.sends_image(city)).await;
    stage
        .tell(
            pim.sends_sticker("446", "1989")
                .keywords(&["hooray", "yay"]),
        )
        .await;
    stage.hours_ago(3.5);
    stage.tell(ken.follows()).await;
    stage
        .tell(ken.sends_text(
            "法人向けの掛け払いについて相談したいのですが、担当の方はいらっしゃいますか。",
        ))
        .await;
    let coffee = stage.photo(Scene::Coffee).await;
    stage.hours_ago(1.2);
    stage
        .tell(
            cast.yichun
                .sends_text("訂金已經匯款了，後五碼是 08812，麻煩確認🙏"),
        )
        .await;
    stage
        .tell(aoi.sends_text("近くのカフェで待っています。急がなくて大丈夫です！"))
        .await;
    stage.tell(aoi.sends_image(coffee)).await;
    stage.hours_ago(0.4);
    stage
        .tell(
            cast.nattaporn
                .sends_text("ขอใบเสร็จรับเงินด้วยนะคะ ส่งทางไลน์ได้เลยค่ะ"),
        )
        .await;
    stage
        .tell(
            cast.emma
                .sends_text("Got the new box, perfect condition. Thank you so much! 🎉"),
        )
        .await;
}
