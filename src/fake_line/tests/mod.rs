//! Tests that compare the platform with LINE's documentation of the real one.

mod api;
mod cast;
mod webhooks;

use std::{error::Error, io, net::TcpListener};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, rt::System, web};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Channel, FakeLine, User};

type Outcome = Result<(), Box<dyn Error>>;

/// Chooses the status that a webhook body is answered with.
type Judge = fn(&[u8]) -> u16;

/// A webhook request, as the test's endpoint received it.
struct Told {
    signature: Option<String>,
    user_agent: Option<String>,
    content_type: Option<String>,
    body: web::Bytes,
}

/// Starts a webhook endpoint; returns its URL and the requests that it receives. `judge` chooses the status.
fn hook(judge: Judge) -> io::Result<(String, UnboundedReceiver<Told>)> {
    async fn receive(
        request: HttpRequest,
        body: web::Bytes,
        ear: web::Data<(UnboundedSender<Told>, Judge)>,
    ) -> HttpResponse {
        let header = |name| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let status = StatusCode::from_u16((ear.1)(&body)).expect("a status");
        let told = Told {
            signature: header("x-line-signature"),
            user_agent: header("user-agent"),
            content_type: header("content-type"),
            body,
        };
        let _ = ear.0.send(told);
        HttpResponse::build(status).body("noted")
    }

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (telling, told) = unbounded_channel();
    let ear = web::Data::new((telling, judge));
    let app = move || {
        App::new()
            .app_data(ear.clone())
            .default_service(web::to(receive))
    };
    std::thread::spawn(move || {
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .listen(listener)?;
        System::new().block_on(server.run())
    });
    Ok((url, told))
}
/// A platform, a channel and a user.
fn stage() -> Result<(FakeLine, Channel, User), Box<dyn Error>> {
    let line = FakeLine::start_seeded(1)?;
    let shop = line.channel("Shop");
    let aoi = shop.user("Aoi");
    Ok((line, shop, aoi))
}

async fn get(channel: &Channel, path: &str) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}{path}", channel.line().url());
    channel
        .line
        .platform
        .sender
        .get(url)
        .bearer_auth(channel.access_token())
        .send()
        .await
}

async fn post(
    channel: &Channel,
    path: &str,
    body: Value,
    key: Option<&str>,
) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}{path}", channel.line().url());
    let request = channel
        .line
        .platform
        .sender
        .post(url)
        .bearer_auth(channel.access_token())
        .json(&body);
    key.iter()
        .fold(request, |request, key| {
            request.header("X-Line-Retry-Key", *key)
        })
        .send()
        .await
}
