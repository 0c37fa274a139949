//! The texts that people write to the shop and to the travel desk.

/// The language that a person writes in.
#[derive(Clone, Copy)]
pub(super) enum Language {
    Japanese,
    Thai,
    Chinese,
    English,
}

impl Language {
    pub(super) fn lines(self) -> &'static [&'static str] {
        match self {
            Language::Japanese => &JAPANESE,
            Language::Thai => &THAI,
            Language::Chinese => &CHINESE,
            Language::English => &ENGLISH,
        }
    }

    /// The suffix that an edit appends to a text.
    pub(super) fn correction(self) -> &'static str {
        match self {
            Language::Japanese => "（訂正しました）",
            Language::Thai => " (แก้คำผิดค่ะ)",
            Language::Chinese => "（更正）",
            Language::English => " (typo fixed)",
        }
    }

    /// The text that is sent after a photo.
    pub(super) fn with_photo(self) -> &'static str {
        match self {
            Language::Japanese => "こんな感じです📷",
            Language::Thai => "แบบนี้ค่ะ 📷",
            Language::Chinese => "像這樣📷",
            Language::English => "Like this 📷",
        }
    }
}

const JAPANESE: [&str; 14] = [
    "こんにちは。注文した商品の発送予定日を教えていただけますか？",
    "ありがとうございます！助かります😊",
    "明日の午前中に受け取れますか？",
    "サイズをMからLに変更したいです。",
    "領収書の宛名は「株式会社みどり」でお願いします。",
    "了解しました。よろしくお願いいたします。",
    "駅からお店まで歩いて何分くらいですか？",
    "ギフト包装はできますか？リボンは青がいいです🎀",
    "すみません、さっきの注文番号を間違えました。正しくは A-20418 です。",
    "返品の送料はどちらの負担になりますか？",
    "再入荷したら通知がほしいです。",
    "今日は何時まで営業していますか？",
    "商品が届きました。とてもきれいな色ですね！",
    "支払いはコンビニでも大丈夫ですか？",
];

const THAI: [&str; 12] = [
    "สวัสดีค่ะ ขอสอบถามราคาตั๋วเครื่องบินไปเชียงใหม่วันศุกร์หน้าค่ะ",
    "ขอบคุณมากค่ะ 🙏",
    "โรงแรมมีที่จอดรถไหมคะ",
    "ขอเปลี่ยนวันเดินทางเป็นวันเสาร์ได้ไหมครับ",
    "โอนเงินแล้วนะคะ รบกวนเช็กให้ด้วยค่ะ",
    "รถตู้มารับกี่โมงครับ",
    "มีเด็กเล็กไปด้วยหนึ่งคน ต้องจ่ายเพิ่มไหมคะ",
    "ได้รับใบจองเรียบร้อยแล้วค่ะ",
    "ฝนตกแบบนี้ทัวร์ยังไปอยู่ไหมครับ ☔",
    "แพ้อาหารทะเลค่ะ ช่วยแจ้งร้านอาหารด้วยนะคะ",
    "เจอกันที่สนามบินประตู 3 นะครับ",
    "อร่อยมากกก แนะนำเลยค่ะ 😋",
];

const CHINESE: [&str; 12] = [
    "請問今天下單，什麼時候可以寄出？",
    "謝謝你們，服務真好！",
    "可以幫我保留到星期五嗎？",
    "運費是到付還是先付？",
    "收到包裹了，包裝很漂亮🎁",
    "請問有黑色的嗎？",
    "我想把地址改成公司，可以嗎？",
    "從機場到飯店大概要多久？",
    "發票請開統一編號，謝謝。",
    "不好意思，剛剛傳錯照片了。",
    "好的，沒問題👌",
    "下個月還會有優惠嗎？",
];

const ENGLISH: [&str; 12] = [
    "Hi! Could you tell me when my order ships?",
    "That works for me, thank you!",
    "Is there a way to pick it up at the station instead?",
    "I think the zip is stuck. Can it be repaired?",
    "Perfect. See you on Thursday at 10:30.",
    "Do you have this in navy?",
    "We'll be five instead of four, is that okay?",
    "My flight lands at 18:05, a bit later than planned.",
    "Could you send the invoice to my work address?",
    "Thanks, that was quick 🙌",
    "What's the weather like up there in December?",
    "Sorry, wrong chat!",
];
