//! Race R22: no page contains an address of S3. Its addresses lead to this service, and to nothing after an unsend.

use line_chat_archive::fake_line::pictures;
use reqwest::{Client, header};
use uuid::Uuid;

use crate::{
    seaweed::Server,
    site::{Site, between, listed},
};

/// All addresses in the HTML of a page.
fn addresses(page: &str) -> Vec<String> {
    let marks = ["href", "src", "srcset", "poster", "action"];
    let found = marks
        .iter()
        .flat_map(|mark| between(page, &format!(" {mark}=\""), "\""))
        .flat_map(|addresses| addresses.split(", "))
        // In a `srcset` each address is followed by its size.
        .filter_map(|address| address.split(' ').next());
    found.map(|address| address.replace("&#38;", "&")).collect()
}

#[tokio::test]
async fn addresses_are_ours_and_lead_nowhere_after_an_unsend() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    let photo = pictures::photo(3, 1200, 900);
    let sent = [
        aoi.sends_image(photo.clone()).await.unwrap(),
        aoi.sends_video(vec![7; 300_000], 1_000)
            .previewed_by(photo)
            .await
            .unwrap(),
        aoi.sends_file("a.bin", vec![9; 300_000]).await.unwrap(),
    ];
    site.run_jobs().await;
    let admin = site.admin().await;
    let place = listed(&admin.page("/conversations").await)[0];
    let ids: Vec<Uuid> = sqlx::query_scalar("select id from attachment order by id")
        .fetch_all(&mut site.db().await)
        .await
        .unwrap();
    let mut said = vec![];
    let mut handed = vec![];
    for path in [
        "/conversations".to_owned(),
        format!("/conversations/{place}"),
        format!("/conversations/{place}/media"),
        format!("/conversations/{place}/media?of=videos"),
        format!("/conversations/{place}/media?of=files"),
    ] {
        let page = admin.page(&path).await;
        handed.extend(addresses(&page));
        said.push(page);
    }
    let files: Vec<String> = handed
        .into_iter()
        .filter(|address| ids.iter().any(|id| address.contains(&id.to_string())))
        .collect();
    assert!(files.len() > 6, "{files:?}");
    for file in &files {
        let answer = admin.get(file).await;
        assert_eq!(answer.status(), 200, "{file}");
        said.push(format!("{:?}", answer.headers()));
    }
    let server = &Server::shared().await.endpoint;
    let stored: Vec<String> = site.bucket.held().await;
    assert_eq!(
        stored.len(),
        6,
        "three files, two previews, a face: {stored:?}"
    );
    let keys = stored.iter().map(|kept| kept.rsplit('/').next().unwrap());
    let secrets = [
        server.as_str(),
        &site.bucket.proxy.url,
        "X-Amz",
        "AWSAccessKeyId",
    ];
    for secret in secrets.into_iter().chain(keys) {
        let tellers = said.iter().filter(|said| said.contains(secret));
        assert_eq!(tellers.count(), 0, "{secret}");
    }

    // S3 refuses an unsigned request, even from somebody who knows the key of an object.
    let stranger = Client::builder().no_proxy().build().unwrap();
    for kept in &stored {
        let key = kept.split(' ').nth(1).unwrap();
        let address = format!("{server}/{}/{}/{key}", site.bucket.name, site.bucket.prefix);
        let answer = stranger.get(&address).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{kept}");
    }

    for event in &sent {
        aoi.unsends(event).await.unwrap();
    }
    for file in &files {
        for range in ["bytes=0-", "bytes=5-9"] {
            let request = admin.request(reqwest::Method::GET, file);
            let answer = request.header(header::RANGE, range).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{file}: before the objects are gone");
        }
    }
    site.run_jobs().await;
    assert_eq!(site.bucket.files().await, 1, "the face stays");
    for file in &files {
        assert_eq!(admin.status(file).await, 404, "{file}");
    }
}
