//! A login has one normal form, whoever types it, on any device.

use line_chat_archive::{
    records::{
        attest,
        operators::{self, NewOperator},
    },
    web,
};
use sqlx::Executor;

use crate::{site::Site, support::world::PASSWORD};

#[tokio::test]
async fn a_login_is_the_same_in_every_spelling_when_added_and_when_typed() {
    let site = Site::new().await;
    for (added, typed) in [
        ("İlker", "i̇lker"),
        ("ΝΙΚΟΣ", "νικος"),
        ("ＡＯＩ", "aoi"),
        ("cafe\u{301}", "CAFÉ"),
        (" Keiko\n", "keiko"),
    ] {
        site.operator(added, "operator", None).await;
        for spelling in [added, typed] {
            let answer = site.stranger().sign_in(spelling, PASSWORD).await;
            assert_eq!(answer.status(), 303, "{spelling}");
            let again = NewOperator {
                login: spelling,
                password_hash: "x",
                role: "operator",
                channels: None,
            };
            let now = site.clock.now();
            let added = operators::add(&mut site.db().await, &site.keyring, &again, now).await;
            assert!(added.unwrap().is_none(), "{spelling} is taken");
        }
        site.reset_password(typed, "another long password").await;
    }
}

#[tokio::test]
async fn what_cannot_be_told_by_its_look_is_no_login() {
    let site = Site::new().await;
    let link = web::setup_link(&site.service.shared).await.ok().unwrap();
    let token = link.query_pairs().next().unwrap().1.into_owned();
    let long = "x".repeat(300);
    for login in [
        "",
        " ",
        "\n",
        "\u{200b}",
        "a\u{202e}b",
        "a\u{0}b",
        "a\nb",
        "\u{3164}",
        &long,
    ] {
        let new = NewOperator {
            login,
            password_hash: "x",
            role: "operator",
            channels: None,
        };
        let mut db = site.db().await;
        let added = operators::add(&mut db, &site.keyring, &new, site.clock.now()).await;
        assert!(added.is_err(), "{login:?}");
        let form = [
            ("token", token.as_str()),
            ("login", login),
            ("password", PASSWORD),
            ("again", PASSWORD),
        ];
        let answer = site.stranger().post("/setup", &form).await;
        assert_eq!(answer.status(), 422, "{login:?}");
        let answer = site.stranger().sign_in(login, PASSWORD).await;
        assert_eq!(answer.status(), 401, "{login:?}");
    }
    assert_eq!(site.one::<i64>("select count(*) from operator").await, 0);
}

#[tokio::test]
async fn operators_of_earlier_versions_still_sign_in() {
    let site = Site::new().await;
    // Rows of earlier versions: the database lower-cased the login, and the password was hashed as typed.
    let params = argon2::Params::new(8192, 3, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let typed = "cafe\u{301} cafe\u{301} 12";
    let hash = argon2::PasswordHasher::hash_password(&argon2, typed.as_bytes()).unwrap();
    let hash = hash.to_string();
    for (login, now) in [("İlker", "İlker"), ("ａｏｉ", "ａｏｉ"), ("νικος", "ΝΙΚΟΣ")]
    {
        sqlx::query(
            "insert into operator (id, login, password_hash, role, all_channels)
             values (gen_random_uuid(), $1, $2, 'operator', true)",
        )
        .bind(login)
        .bind(&hash)
        .execute(&mut site.db().await)
        .await
        .unwrap();
        let mut db = site.db().await;
        attest::accept_all(&mut db, &site.keyring).await.unwrap();
        let sign_in = async |password: &str| site.stranger().sign_in(now, password).await.status();
        let composed = "caf\u{e9} caf\u{e9} 12";
        assert_eq!(
            sign_in(composed).await,
            401,
            "the old hash is of what was typed"
        );
        assert_eq!(sign_in(typed).await, 303, "{login}");
        assert_eq!(sign_in(composed).await, 303, "and was made anew");
        let stored: String = site.one("select password_hash from operator").await;
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert_eq!(site.one::<i32>("select version from operator").await, 1);
        site.db()
            .await
            .execute("delete from operator")
            .await
            .unwrap();
    }
}
