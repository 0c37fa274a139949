//! An attacker can write to the database, but has no secret key: they cannot read the archive.

use line_chat_archive::{
    records::{attest, attested::Found, channels, operators, sessions},
    web::{self, Token},
};
use reqwest::StatusCode;
use sha2::{Digest, Sha256};
use sqlx::Executor;
use uuid::Uuid;

use crate::{
    site::Site,
    support::{visitor::Visitor, world::PASSWORD},
};

async fn writes(site: &Site, sql: &'static str) {
    site.db().await.execute(sql).await.unwrap();
}

fn with_token(site: &Site, token: &Token) -> Visitor {
    let mut visitor = site.stranger();
    visitor.cookie = Some(format!("session={}", token.text()));
    visitor
}

/// Inserts a made-up session row for an operator, with any MAC.
async fn forge(site: &Site, operator: Uuid, mac: &[u8]) -> Visitor {
    let token = Token::random(site.keyring.attestation());
    sqlx::query(
        "insert into session (token_hash, operator_id, operator_version, created_at, last_seen_at, mac)
         values ($1, $2, 1, $3, $3, $4)",
    )
    .bind(token.hash())
    .bind(operator)
    .bind(site.clock.now())
    .bind(mac)
    .execute(&mut site.db().await)
    .await
    .unwrap();
    with_token(site, &token)
}

#[tokio::test]
async fn a_made_up_session_opens_nothing() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let id: Uuid = site.one("select id from operator").await;
    let real: Vec<u8> = site.one("select mac from session").await;
    for mac in [vec![], vec![0; 32], real] {
        let forged = forge(&site, id, &mac).await;
        assert_eq!(forged.status("/conversations").await, 303);
    }
    assert_eq!(admin.status("/conversations").await, 200);
}

#[tokio::test]
async fn a_session_cannot_be_given_to_another_operator_made_younger_or_a_token_exchanged() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    site.operator("boss", "admin", None).await;
    for change in [
        "update session set operator_id = (select id from operator where login = 'boss')",
        "update session set created_at = created_at + interval '1 hour'",
        "update session set token_hash = set_byte(token_hash, 0, get_byte(token_hash, 0) # 1)",
        "update session set operator_version = 2; update operator set version = 2 where login = 'keiko'",
    ] {
        let keiko = site.visitor("keiko").await;
        assert_eq!(keiko.status("/conversations").await, 200);
        writes(&site, change).await;
        assert_eq!(keiko.status("/conversations").await, 303, "{change}");
        writes(
            &site,
            "delete from session; update operator set version = 1",
        )
        .await;
    }
}

#[tokio::test]
async fn an_altered_operator_is_out_and_cannot_sign_in() {
    let site = Site::new().await;
    site.channel("desk").await;
    for (n, change) in [
        "update operator set role = 'admin'",
        "update operator set all_channels = true",
        "insert into operator_channel select id, 2 from operator where login = 'keiko'",
        "update operator_channel set channel_id = 2",
        "delete from operator_channel",
        "update operator set version = version + 1",
        "update operator set mac = null",
        "update operator set mac = sha256(mac)",
        "update operator set created_at = created_at + interval '1 s'",
        "update operator set id = '00000000-0000-0000-0000-000000000001'",
    ]
    .into_iter()
    .enumerate()
    {
        site.operator("keiko", "operator", Some(&["shop"])).await;
        // Refused sign-ins are counted, so each round ends by moving the clock.
        let keiko = site.visitor("keiko").await;
        let before =
            "alter table operator_channel drop constraint operator_channel_operator_id_fkey;
             alter table session drop constraint session_operator_id_fkey";
        if n == 0 {
            writes(&site, before).await;
        }
        assert_eq!(keiko.status("/conversations").await, 200);
        writes(&site, change).await;
        assert_eq!(keiko.status("/conversations").await, 303, "{change}");
        let answer = keiko.sign_in("keiko", PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{change}");
        writes(
            &site,
            "delete from operator; delete from operator_channel; delete from session",
        )
        .await;
        site.clock.advance(std::time::Duration::from_secs(3600));
    }
}

#[tokio::test]
async fn a_disabled_operator_stays_so_and_a_known_password_cannot_be_put_into_a_row() {
    let site = Site::new().await;
    site.operator("keiko", "admin", None).await;
    site.operator("eve", "operator", None).await;
    let mut db = site.db().await;
    let disabled = operators::disable(&mut db, &site.keyring, "keiko", site.clock.now()).await;
    assert!(matches!(disabled, Ok(Found::Yes(_))));
    let sign_in = async |login: &str| site.stranger().sign_in(login, PASSWORD).await.status();
    writes(&site, "update operator set disabled_at = null").await;
    assert_eq!(sign_in("keiko").await, 401);
    // The hash of eve, whose password she knows, in the administrator's row; and the other way round.
    writes(
        &site,
        "update operator set (password_hash, mac) = (select password_hash, mac from operator where login = 'eve')",
    )
    .await;
    assert_eq!(sign_in("keiko").await, 401);
    assert_eq!(sign_in("eve").await, 303, "her own row is as it was");
}

#[tokio::test]
async fn a_made_up_operator_is_nobody_and_nothing_can_be_done_to_it() {
    let site = Site::new().await;
    let hash = web::password::hash(PASSWORD).unwrap();
    sqlx::query(
        "insert into operator (id, login, password_hash, role, all_channels, mac)
         values (gen_random_uuid(), 'eve', $1, 'admin', true, sha256('x'))",
    )
    .bind(&hash)
    .execute(&mut site.db().await)
    .await
    .unwrap();
    assert_eq!(site.stranger().sign_in("eve", PASSWORD).await.status(), 401);
    let (mut db, keyring) = (site.db().await, &site.keyring);
    let set = operators::set_password(&mut db, keyring, "eve", &hash).await;
    assert_eq!(set.unwrap(), Found::Forged, "which would make it genuine");
    let disabled = operators::disable(&mut db, keyring, "eve", site.clock.now()).await;
    assert_eq!(disabled.unwrap(), Found::Forged);
    assert_eq!(site.stranger().sign_in("eve", PASSWORD).await.status(), 401);
    let listed = operators::list(&mut db, keyring).await.unwrap();
    assert!(!listed[0].is_genuine);
}

#[tokio::test]
async fn a_made_up_setup_link_makes_nobody() {
    let site = Site::new().await;
    site.operator("keiko", "admin", None).await;
    writes(&site, "delete from operator").await;
    let token = Token::random(site.keyring.attestation());
    let mut db = site.db().await;
    let later = site.clock.now() + chrono::TimeDelta::hours(1);
    let forge = "insert into setup_link (token_hash, expires_at, mac) values ($1, $2, sha256('x'))";
    let forged = sqlx::query(forge).bind(token.hash()).bind(later);
    forged.execute(&mut db).await.unwrap();
    let path = format!("/setup?token={}", token.text());
    assert_eq!(site.stranger().status(&path).await, 404);
    let form = [
        ("token", token.text()),
        ("login", "eve"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    assert_eq!(site.stranger().post("/setup", &form).await.status(), 404);
    // A genuine setup link whose hash or expiry was changed.
    let now = site.clock.now();
    for change in [
        "update setup_link set expires_at = expires_at + interval '1 day'",
        "update setup_link set token_hash = sha256('x')",
    ] {
        let token = Token::random(site.keyring.attestation());
        sessions::make_setup_link(&mut db, &site.keyring, &token.hash(), later)
            .await
            .unwrap();
        writes(&site, change).await;
        let hashes = [token.hash(), sha2_of_x()];
        for hash in hashes {
            let found = sessions::setup_link_lives(&mut db, &site.keyring, &hash, now).await;
            assert_ne!(found.unwrap(), Found::Yes(()), "{change}");
        }
    }
    assert_eq!(site.one::<i64>("select count(*) from operator").await, 0);
}

fn sha2_of_x() -> [u8; 32] {
    Sha256::digest("x").into()
}

#[tokio::test]
async fn a_slug_or_a_secret_cannot_be_exchanged_between_channels() {
    let site = Site::new().await;
    // The key of a secret's row contains its time.
    site.clock.advance(std::time::Duration::from_secs(1));
    let desk = site.channel("desk").await;
    let mut db = site.db().await;
    writes(
        &site,
        "update channel_secret set channel_id = 3 - channel_id where channel_id in (1, 2)",
    )
    .await;
    site.service
        .channels
        .refresh(&site.service.pool)
        .await
        .unwrap();
    assert!(
        desk.user("Ken").sends_text("x").await.is_err(),
        "a secret of another channel"
    );
    writes(
        &site,
        "update channel_secret set channel_id = 3 - channel_id where channel_id in (1, 2);
         update channel set slug = 'x' where id = 1; update channel set slug = 'shop' where id = 2;
         update channel set slug = 'desk' where id = 1",
    )
    .await;
    site.service
        .channels
        .refresh(&site.service.pool)
        .await
        .unwrap();
    assert!(
        desk.user("Ken").sends_text("x").await.is_err(),
        "the slug of another channel"
    );
    let found = channels::find(&mut db, &site.keyring, "shop")
        .await
        .unwrap();
    assert_eq!(found, Found::Forged, "no scope is given by it");
    assert_eq!(site.one::<i64>("select count(*) from message").await, 0);
}

#[tokio::test]
async fn rows_of_an_earlier_version_are_believed_once_they_are_accepted() {
    let site = Site::new().await;
    site.operator("keiko", "operator", Some(&["shop"])).await;
    writes(
        &site,
        "update operator set mac = null; update channel set mac = null",
    )
    .await;
    assert_eq!(
        site.stranger().sign_in("keiko", PASSWORD).await.status(),
        401
    );
    let (mut db, keyring) = (site.db().await, &site.keyring);
    let unattested = attest::unattested(&mut db, keyring).await.unwrap();
    assert_eq!(unattested.operators, ["keiko"]);
    assert_eq!(unattested.channels, ["shop"]);
    attest::accept_all(&mut db, keyring).await.unwrap();
    assert!(
        attest::unattested(&mut db, keyring)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        site.visitor("keiko").await.status("/conversations").await,
        200
    );

    assert!(!keyring.is_attested().await.unwrap());
    keyring.set_attested().await.unwrap();
    keyring.set_attested().await.unwrap();
    assert!(
        keyring.is_attested().await.unwrap(),
        "the mark is in the keyring"
    );
}

/// The owner of the database can redefine tables: this view shows the condition the requested hash, and returns another
/// operator's row to the service.
#[tokio::test]
async fn a_view_that_answers_with_another_session_opens_nothing() {
    let site = Site::new().await;
    let admin = site.admin().await;
    assert_eq!(admin.status("/erasures").await, 200);
    let token = Token::random(site.keyring.attestation());
    let hash: String = token.hash().iter().map(|b| format!("{b:02x}")).collect();
    let lies = format!(
        "create sequence lie; grant all on lie to public;
         create function lies(h bytea) returns bytea language plpgsql stable as $$ begin
             if nextval('public.lie') % 2 = 1 then return '\\x{hash}'; end if; return h; end $$;
         alter table session rename to session_t;
         create view session as select lies(token_hash) as token_hash, operator_id, operator_version, created_at,
             last_seen_at, mac from session_t;
         grant all on session to public"
    );
    let lies = sqlx::raw_sql(sqlx::AssertSqlSafe(lies));
    lies.execute(&mut site.db().await).await.unwrap();
    let attacker = with_token(&site, &token);
    for _ in 0..4 {
        assert_eq!(attacker.status("/erasures").await, 303);
    }
}

/// A view in which the administrator's row matches eve's login, id and hash, once each.
async fn show_the_boss_as_eve(site: &Site) {
    writes(
        site,
        "create sequence lies; grant all on lies to public;
         create table truth as select id, password_hash from operator where login = 'eve'; grant all on truth to public;
         create function lie_login(own text) returns text language plpgsql stable as $$ begin
             if nextval('public.lies') = 1 then return 'eve'; end if; return own; end $$;
         create function lie_id(own uuid) returns uuid language plpgsql stable as $$ begin
             if nextval('public.lies') = 1 then return (select id from public.truth); end if; return own; end $$;
         create function lie_hash(own text) returns text language plpgsql stable as $$ begin
             if nextval('public.lies') = 2 then return (select password_hash from public.truth); end if; return own;
             end $$;
         alter table operator rename to operator_t",
    )
    .await;
}

/// The owner of the database chooses the row that matches a login. The service must not write a new password into
/// another operator's row, because that row would get a valid MAC with it.
#[tokio::test]
async fn a_view_that_answers_with_another_operator_gets_no_new_password_into_that_row() {
    let site = Site::new().await;
    site.operator("eve", "operator", None).await;
    site.operator("boss", "admin", None).await;
    let hers = "a password that eve knows";
    let hash = web::password::hash(hers).unwrap();
    let (mut db, keyring) = (site.db().await, &site.keyring);
    let eve = operators::credentials(&mut db, keyring, "eve").await;
    let eve = eve.unwrap().yes().unwrap();
    show_the_boss_as_eve(&site).await;
    let columns = "role, all_channels, created_at, disabled_at, version, mac from operator_t where login = 'boss'";
    let unlie = "drop view operator; alter sequence lies restart";

    let view = format!(
        "create view operator as select id, lie_login(login) as login, password_hash, {columns}"
    );
    sqlx::query(sqlx::AssertSqlSafe(view))
        .execute(&mut db)
        .await
        .unwrap();
    let mut fresh = site.db().await;
    let set = operators::set_password(&mut fresh, keyring, "eve", &hash).await;
    assert_eq!(set.unwrap(), Found::Forged);
    writes(&site, unlie).await;

    let view = format!(
        "create view operator as select id, lie_login(login) as login, password_hash, {columns}"
    );
    sqlx::query(sqlx::AssertSqlSafe(view))
        .execute(&mut db)
        .await
        .unwrap();
    let mut fresh = site.db().await;
    let disabled = operators::disable(&mut fresh, keyring, "eve", site.clock.now()).await;
    assert_eq!(disabled.unwrap(), Found::Forged);
    writes(&site, unlie).await;

    let view = format!(
        "create view operator as select lie_id(id) as id, login, lie_hash(password_hash) as password_hash, {columns}"
    );
    sqlx::query(sqlx::AssertSqlSafe(view))
        .execute(&mut db)
        .await
        .unwrap();
    let mut fresh = site.db().await;
    operators::rehash(&mut fresh, keyring, &eve, &hash)
        .await
        .unwrap();
    writes(
        &site,
        "drop view operator; alter table operator_t rename to operator",
    )
    .await;

    let sign_in = async |password: &str| site.stranger().sign_in("boss", password).await.status();
    assert_eq!(sign_in(hers).await, 401);
    assert_eq!(sign_in(PASSWORD).await, 303, "the row is as it was");
}

#[tokio::test]
async fn a_database_that_stretches_time_or_scope_is_not_believed() {
    let site = Site::new().await;
    site.channel("other").await;
    site.operator("keiko", "operator", Some(&["shop"])).await;
    let keiko = site.visitor("keiko").await;
    writes(
        &site,
        "create schema evil; grant usage on schema evil to public;
         create function evil.gt(a timestamptz, b timestamptz) returns boolean language sql immutable as $$ select true $$;
         create operator evil.> (leftarg = timestamptz, rightarg = timestamptz, function = evil.gt);
         do $$ begin execute format('alter database %I set search_path = evil, pg_catalog, public', current_database()); end $$;
         select pg_terminate_backend(pid) from pg_stat_activity
             where pid <> pg_backend_pid() and datname = current_database()",
    )
    .await;
    site.clock
        .advance(std::time::Duration::from_secs(13 * 3600));
    assert_eq!(
        keiko.status("/conversations").await,
        303,
        "12 hours are over"
    );
}
