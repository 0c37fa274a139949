//! Rules, holds, requests and orders: only compliance staff and administrators can make them, under their own name.

use std::collections::BTreeSet;

use line_chat_archive::fake_line::pictures;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    edge::routes_of_governance,
    live::{listen, next, settled},
    site::{Site, between},
};

#[tokio::test]
async fn a_rule_is_seen_before_it_is_on_and_says_who_did_it() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_text("OLD").await.unwrap();
    site.run_jobs().await;
    site.operator("keiko", "compliance", Some(&["shop"])).await;
    let mut keiko = site.visitor("keiko").await;
    let rule = [("channel", "1"), ("kind", "any"), ("days", "30")];
    assert_eq!(
        keiko.post("/retention", &rule).await.status(),
        StatusCode::SEE_OTHER
    );
    let again = keiko.post("/retention", &rule).await;
    assert_eq!(again.status(), StatusCode::CONFLICT, "one is enough");
    let says = again.text().await.unwrap();
    assert!(says.contains("has a rule of this kind already"), "{says}");
    for wrong in [["kind", "wish"], ["days", "0"], ["channel", "2"]] {
        let form: Vec<_> = rule
            .iter()
            .map(|&(name, value)| (name, if name == wrong[0] { wrong[1] } else { value }))
            .collect();
        assert!(
            keiko
                .post("/retention", &form)
                .await
                .status()
                .is_client_error(),
            "{wrong:?}"
        );
    }
    site.clock
        .advance(std::time::Duration::from_secs(40 * 86_400));
    keiko = site.visitor("keiko").await;
    let page = keiko.page("/retention").await;
    assert!(page.contains("not on yet") && page.contains("written by <bdi>keiko</bdi>"));
    let id = between(&page, "<li id=\"r-", "\"")[0].to_owned();
    assert!(
        !page.contains(&format!("/retention/{id}/on")),
        "only beside its preview"
    );
    let preview = keiko.page(&format!("/retention/{id}")).await;
    assert!(preview.contains("Due now: 1 message and 0 other events"));
    assert_eq!(
        keiko
            .post(&format!("/retention/{id}/on"), &[])
            .await
            .status(),
        StatusCode::SEE_OTHER
    );
    site.run_jobs().await;
    let page = keiko.page("/retention").await;
    assert!(page.contains("switched on by <bdi>keiko</bdi>"));
    let conversation: Uuid = site.one("select id from conversation").await;
    let thread = keiko.page(&format!("/conversations/{conversation}")).await;
    assert!(thread.contains("message erased by retention") && !thread.contains("message unsent"));
    assert!(
        keiko
            .page("/conversations")
            .await
            .contains("message erased")
    );
    assert!(
        keiko
            .page("/erasures")
            .await
            .contains("erased by retention")
    );
    assert_eq!(
        keiko
            .post(&format!("/retention/{id}/off"), &[])
            .await
            .status(),
        StatusCode::SEE_OTHER
    );
    assert!(
        keiko
            .page("/retention")
            .await
            .contains("switched off by <bdi>keiko</bdi>")
    );
}

#[tokio::test]
async fn a_hold_is_set_beside_the_person_and_stops_an_order_in_words() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_text("HELD").await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let conversation: Uuid = site.one("select id from conversation").await;
    let message: Uuid = site.one("select id from message").await;
    let page = admin.page(&format!("/conversations/{conversation}")).await;
    assert!(
        page.contains("Hold this conversation")
            && page.contains(&format!("/messages/{message}/erase"))
    );
    let id = conversation.to_string();
    let hold = [
        ("conversation", id.as_str()),
        ("reason", "case <7>"),
        ("covers", "rules"),
    ];
    assert_eq!(
        admin.post("/holds", &hold).await.status(),
        StatusCode::SEE_OTHER
    );
    let page = admin.page("/holds").await;
    assert!(page.contains("case &#60;7&#62;") && page.contains("set by <bdi>admin</bdi>"));
    assert!(
        page.contains("A hold does not stop an unsend, unless it covers unsends."),
        "the rule, in words"
    );
    let order = format!("/messages/{message}/erase");
    admin.post(&order, &[("reason", "unlawful")]).await;
    assert!(
        admin
            .page(&order)
            .await
            .contains("Operators cannot erase anything in it")
    );
    assert_eq!(site.one::<i64>("select count(*) from message").await, 1);

    let hold = between(&page, "<li id=\"h-", "\"")[0];
    assert_eq!(
        admin
            .post(&format!("/holds/{hold}/lift"), &[])
            .await
            .status(),
        StatusCode::SEE_OTHER
    );
    assert!(
        admin
            .page("/holds")
            .await
            .contains("lifted by <bdi>admin</bdi>")
    );
    assert_eq!(
        admin
            .post(&order, &[("reason", "I did not like it")])
            .await
            .status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        admin.post(&order, &[("reason", "unlawful")]).await.status(),
        StatusCode::SEE_OTHER
    );
    assert_eq!(site.one::<i64>("select count(*) from message").await, 0);
    let by: String = site
        .one("select o.login || ' ' || e.reason from erasure e join operator o on o.id = e.operator_id")
        .await;
    assert_eq!(by, "admin unlawful");
    assert!(
        admin
            .page(&format!("/conversations/{conversation}"))
            .await
            .contains("message erased by an operator")
    );
}

#[tokio::test]
async fn a_person_gets_a_copy_and_is_forgotten() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi Tanaka");
    aoi.sends_image(pictures::photo(1, 64, 48)).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let contact: Uuid = site.one("select id from contact").await;
    let page = format!("/contacts/{contact}/requests");
    assert!(admin.page(&page).await.contains("Requests of"));
    admin
        .post(&format!("/contacts/{contact}/export"), &[])
        .await;
    assert!(admin.page(&page).await.contains("export is being made"));
    site.run_jobs().await;
    let shown = admin.page(&page).await;
    let href = between(&shown, "href=\"/exports/", "\"")[0];
    let zip = admin.get(&format!("/exports/{href}")).await;
    assert_eq!(zip.headers()["cache-control"], "no-store");
    assert!(
        zip.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .contains("export.zip")
    );
    assert!(zip.bytes().await.unwrap().starts_with(b"PK"));

    let erase = format!("/contacts/{contact}/erase");
    assert_eq!(
        admin.post(&erase, &[]).await.status(),
        StatusCode::BAD_REQUEST,
        "not sure"
    );
    assert_eq!(
        admin.post(&erase, &[("sure", "yes")]).await.status(),
        StatusCode::SEE_OTHER
    );
    site.run_jobs().await;
    let shown = admin.page(&page).await;
    assert!(!shown.contains("Aoi Tanaka") && shown.contains("1 message and 0 other events"));
    let conversation: Uuid = site.one("select id from conversation").await;
    assert!(
        admin
            .page(&format!("/conversations/{conversation}"))
            .await
            .contains("message erased on request")
    );
}

/// The route of a path: `{id}` stands in place of an id.
fn route_of(path: &str) -> String {
    let parts = path.split('/').map(|part| match Uuid::parse_str(part) {
        Ok(_) => "{id}",
        Err(_) => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn nobody_else_may_and_nobody_may_elsewhere() {
    let site = Site::new().await;
    let desk = site.channel("desk").await;
    for channel in [&site.shop, &desk] {
        channel.user("Aoi").sends_text("KEPT").await.unwrap();
    }
    site.run_jobs().await;
    site.operator("ken", "operator", None).await;
    site.operator("keiko", "compliance", Some(&["shop"])).await;
    let (ken, keiko) = (site.visitor("ken").await, site.visitor("keiko").await);
    let admin = site.admin().await;
    admin
        .post(
            "/retention",
            &[("channel", "2"), ("kind", "any"), ("days", "30")],
        )
        .await;
    let id = async |query: &'static str| -> Uuid { site.one(query).await };
    let rule = id("select id from retention_rule").await;
    let message = id("select id from message where channel_id = 2").await;
    let contact = id("select id from contact where channel_id = 2").await;
    let conversation = id("select id from conversation where channel_id = 2")
        .await
        .to_string();
    admin
        .post(
            "/holds",
            &[
                ("conversation", &conversation),
                ("reason", "case"),
                ("covers", "requests"),
            ],
        )
        .await;
    admin
        .post(&format!("/contacts/{contact}/export"), &[])
        .await;
    site.run_jobs().await;
    let hold = id("select id from hold").await;
    let export = id("select id from subject_request").await;

    let mut tried = BTreeSet::new();
    for path in [
        "/retention".to_owned(),
        format!("/retention/{rule}"),
        "/holds".to_owned(),
        format!("/holds/{hold}"),
        format!("/messages/{message}/erase"),
        format!("/conversations/{conversation}/erase"),
        format!("/contacts/{contact}/requests"),
        format!("/exports/{export}"),
    ] {
        tried.insert(("GET", route_of(&path)));
        assert_eq!(ken.status(&path).await, 403, "{path}");
        let list = path.matches('/').count() == 1;
        assert_eq!(
            keiko.status(&path).await,
            if list { 200 } else { 404 },
            "{path}"
        );
        assert_eq!(admin.status(&path).await, 200, "{path}");
        assert_eq!(site.stranger().status(&path).await, 303, "{path}");
    }
    for (path, form) in [
        (
            "/retention".to_owned(),
            vec![("channel", "2"), ("kind", "text"), ("days", "1")],
        ),
        (format!("/retention/{rule}/on"), vec![]),
        (format!("/retention/{rule}/off"), vec![]),
        (
            "/holds".to_owned(),
            vec![
                ("conversation", conversation.as_str()),
                ("reason", "x"),
                ("covers", "rules"),
            ],
        ),
        (format!("/holds/{hold}/lift"), vec![]),
        (
            format!("/messages/{message}/erase"),
            vec![("reason", "other")],
        ),
        (
            format!("/conversations/{conversation}/erase"),
            vec![("reason", "other")],
        ),
        (format!("/contacts/{contact}/export"), vec![]),
        (format!("/contacts/{contact}/erase"), vec![("sure", "yes")]),
    ] {
        tried.insert(("POST", route_of(&path)));
        assert_eq!(
            ken.post(&path, &form).await.status(),
            StatusCode::FORBIDDEN,
            "{path}"
        );
        assert_eq!(
            keiko.post(&path, &form).await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let routes = routes_of_governance();
    assert!(routes.len() > 15, "{routes:?}");
    // `erasures.rs` and `scope.rs` try the pages of erasures.
    for (method, route) in routes {
        let is_tried = tried.contains(&(method, route.to_owned()));
        assert!(
            is_tried || route.starts_with("/erasures"),
            "{method} {route} is missing in the tables above"
        );
    }
    let row = "<li id=\"h-";
    assert!(admin.page("/holds").await.contains(row));
    assert!(!keiko.page("/holds").await.contains(row));
    site.run_jobs().await;
    let untouched = "select (select count(*) from message) = 2 and not exists (select from erasure)
        and not exists (select from retention_rule where switched_on_at is not null or kind = 'text')
        and (select count(*) from hold where lifted_at is null) = 1";
    assert!(site.one::<bool>(untouched).await);
    let kens = ken.page(&format!("/conversations/{conversation}")).await;
    for word in ["/retention", "/holds", "/erase", "/requests"] {
        assert!(!kens.contains(word), "{word}");
    }
}

#[tokio::test]
async fn each_hold_in_the_list_has_its_conversations_name_and_its_own_count() {
    let site = Site::new().await;
    let (aoi, ken) = (site.shop.user("Aoi"), site.shop.user("Ken"));
    let crew = site.shop.group("Crew", &[&aoi, &ken]);
    let text = aoi.sends_text("one").await.unwrap();
    crew.member(&ken).sends_text("two").await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let chat: Uuid = site
        .one("select id from conversation where kind = 'user'")
        .await;
    let group: Uuid = site
        .one("select id from conversation where kind = 'group'")
        .await;
    for (conversation, covers) in [(chat, "unsends"), (group, "unsends"), (group, "rules")] {
        let hold = [
            ("conversation", &*conversation.to_string()),
            ("reason", "case 9"),
            ("covers", covers),
        ];
        assert_eq!(
            admin.post("/holds", &hold).await.status(),
            StatusCode::SEE_OTHER
        );
    }
    aoi.unsends(&text).await.unwrap();
    let page = admin.page("/holds").await;
    let rows = between(&page, "<li id=\"h-", "</li>");
    let of = |name: &str| rows.iter().filter(|row| row.contains(name)).count();
    assert_eq!((rows.len(), of("Aoi"), of("Crew")), (3, 1, 2));
    for row in rows {
        let counted = row.contains("1 unsent message is withheld");
        assert_eq!(counted, row.contains("Aoi"), "{row}");
    }
}

#[tokio::test]
async fn what_a_hold_withholds_is_on_its_page_and_nowhere_else() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let text = aoi.sends_text("WITHHELD").await.unwrap();
    let photo = aoi.sends_image(pictures::photo(3, 640, 480)).await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    site.operator("mika", "operator", Some(&["shop"])).await;
    let mika = site.visitor("mika").await;
    let conversation: Uuid = site.one("select id from conversation").await;
    let file: Uuid = site.one("select id from attachment").await;
    let hold = [
        ("conversation", &*conversation.to_string()),
        ("reason", "case 7"),
        ("covers", "unsends"),
    ];
    assert_eq!(
        admin.post("/holds", &hold).await.status(),
        StatusCode::SEE_OTHER
    );
    let before = admin.page("/holds").await;
    assert!(before.contains("covers requests and unsends") && !before.contains("withheld</a>"));
    let paths = [
        format!("/attachments/{file}"),
        format!("/attachments/{file}/preview"),
    ];
    for path in &paths {
        assert_eq!(mika.status(path).await, 200, "{path}");
    }
    aoi.unsends(&text).await.unwrap();
    aoi.unsends(&photo).await.unwrap();
    site.run_jobs().await;

    for visitor in [&mika, &admin] {
        let page = visitor
            .page(&format!("/conversations/{conversation}"))
            .await;
        assert!(page.contains("message unsent") && !page.contains("WITHHELD"));
        assert!(!visitor.page("/conversations").await.contains("WITHHELD"));
    }
    for path in &paths {
        assert_eq!(mika.status(path).await, 404, "{path}");
        assert_eq!(admin.status(path).await, 200, "{path}: for the hold's page");
    }
    let message: Uuid = site.one("select id from message where kind = 'text'").await;
    assert_eq!(
        admin.status(&format!("/messages/{message}/erase")).await,
        404
    );
    let holds = admin.page("/holds").await;
    assert!(holds.contains("2 unsent messages are withheld"));
    let id = between(&holds, "<li id=\"h-", "\"")[0];
    let path = format!("/holds/{id}");
    let page = admin.page(&path).await;
    assert!(page.contains("WITHHELD") && page.contains(&format!("/attachments/{file}/preview")));
    assert_eq!(mika.status(&path).await, 403);

    admin.post(&format!("{path}/lift"), &[]).await;
    site.run_jobs().await;
    let page = admin.page(&path).await;
    assert!(page.contains("Nothing is withheld") && !page.contains("WITHHELD"));
    for path in &paths {
        assert_eq!(admin.status(path).await, 404, "{path}");
    }
    let page = admin.page(&format!("/conversations/{conversation}")).await;
    assert!(page.contains("message unsent"));
}

#[tokio::test]
async fn all_of_a_conversation_is_erased_by_order_unless_it_is_held() {
    let site = Site::new().await;
    let (aoi, ken) = (site.shop.user("Aoi"), site.shop.user("Ken"));
    aoi.follows().await.unwrap();
    aoi.sends_image(pictures::photo(3, 64, 48)).await.unwrap();
    let mut texts = vec![];
    for n in 0..205 {
        texts.push(aoi.sends_text(&format!("GONE-{n}")).await.unwrap());
    }
    ken.sends_text("STAYS").await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let chat: Uuid = site
        .one("select conversation_id from message where kind = 'image'")
        .await;
    let order = format!("/conversations/{chat}/erase");
    let page = admin.page(&format!("/conversations/{chat}")).await;
    assert!(page.contains(&order));
    let id = chat.to_string();
    let hold = [
        ("conversation", id.as_str()),
        ("reason", "case"),
        ("covers", "rules"),
    ];
    admin.post("/holds", &hold).await;
    admin.post(&order, &[("reason", "order")]).await;
    assert_eq!(site.one::<i64>("select count(*) from message").await, 207);
    assert!(
        admin
            .page(&order)
            .await
            .contains("Operators cannot erase anything in it")
    );
    let hold: Uuid = site.one("select id from hold").await;
    admin.post(&format!("/holds/{hold}/lift"), &[]).await;

    let page = admin.page(&order).await;
    assert!(page.contains("206 messages") && page.contains("1 other event."));
    let answer = admin.post(&order, &[("reason", "order")]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    for text in [&texts[0], &texts[204]] {
        site.shop.redeliver(text).await;
    }
    site.run_jobs().await;
    assert_eq!(site.one::<i64>("select count(*) from message").await, 1);
    assert_eq!(site.one::<i64>("select count(*) from event").await, 0);
    let on_record = "select count(*) from erasure e join operator o on o.id = e.operator_id
        where cause = 'operator' and reason = 'order' and login = 'admin'";
    assert_eq!(site.one::<i64>(on_record).await, 207);
    let page = admin.page(&format!("/conversations/{chat}")).await;
    assert!(!page.contains("GONE-") && page.contains("erased by an operator"));
    assert!(admin.page("/conversations").await.contains("STAYS"));
}

#[tokio::test]
async fn whoever_has_a_holds_page_open_is_told_when_it_lets_go() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let text = aoi.sends_text("WITHHELD").await.unwrap();
    site.run_jobs().await;
    let admin = site.admin().await;
    let conversation: Uuid = site.one("select id from conversation").await;
    let hold = [
        ("conversation", &*conversation.to_string()),
        ("reason", "case 8"),
        ("covers", "unsends"),
    ];
    admin.post("/holds", &hold).await;
    aoi.unsends(&text).await.unwrap();
    site.run_jobs().await;
    let id: Uuid = site.one("select id from hold").await;
    let path = format!("/holds/{id}");
    admin.post(&format!("{path}/lift"), &[]).await;
    let page = settled(&admin, &path).await;
    assert!(page.contains("WITHHELD"));
    let mut stream = listen(&admin, &page).await.bytes_stream();
    site.run_jobs().await;
    assert_eq!(next(&mut stream).await, conversation.to_string());
    assert!(!admin.page(&path).await.contains("WITHHELD"));
}

#[tokio::test]
async fn the_erasure_of_a_conversation_that_goes_on_is_shown_with_its_progress() {
    let site = Site::new().await;
    site.shop.user("Aoi").sends_text("hello").await.unwrap();
    let admin = site.admin().await;
    sqlx::query(
        "insert into conversation_order (id, channel_id, conversation_id, operator_id, reason, ordered_at, erased)
         select gen_random_uuid(), c.channel_id, c.id, o.id, 'order', c.created_at, 4100 from conversation c, operator o",
    )
    .execute(&mut site.db().await)
    .await
    .unwrap();
    let chat: Uuid = site.one("select id from conversation").await;
    let order = format!("/conversations/{chat}/erase");
    let page = admin.page(&order).await;
    assert!(page.contains("is being erased") && page.contains("4100 of its messages and events"));
    assert!(!page.contains("Erase all of it"));
    site.run_jobs().await;
    assert!(admin.page(&order).await.contains("Erase all of it"));
}
