//! The platform's HTTP server: one port for LINE's two API hosts, the picture host and the hosts that are not LINE's.

mod answer;
mod content;
mod profiles;
mod routes;
mod sending;
mod webhook_endpoint;

use std::{
    any::Any,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{Arc, mpsc},
    thread,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Extensions, ServerHandle},
    rt::{System, net},
    web,
};

use answer::Answer;

use super::{
    call::Call,
    faults::{self, FaultKind},
    platform::Platform,
};
use routes::{Request, route};

/// A server in its own thread, so that a test that blocks its runtime doesn't block the platform.
pub(super) struct Server(ServerHandle);

impl Server {
    pub(super) fn start(listener: TcpListener, platform: Arc<Platform>) -> io::Result<Self> {
        let (ready, handle) = mpsc::channel();
        thread::Builder::new()
            .name("fake-line".to_owned())
            .spawn(move || {
                System::new().block_on(async {
                    match serving(listener, platform) {
                        Ok(server) => {
                            let _ = ready.send(Ok(server.handle()));
                            server.await
                        }
                        Err(error) => {
                            let _ = ready.send(Err(error));
                            Ok(())
                        }
                    }
                })
            })?;
        handle.recv().map_err(io::Error::other)?.map(Server)
    }

    pub(super) async fn stop(&self) {
        self.0.stop(false).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `stop` sends the command at once; nothing has to wait until the port is closed.
        drop(self.0.stop(false));
    }
}

fn serving(listener: TcpListener, platform: Arc<Platform>) -> io::Result<actix_web::dev::Server> {
    let platform = web::Data::from(platform);
    let app = move || {
        App::new()
            .app_data(platform.clone())
            .app_data(web::PayloadConfig::new(16 << 20))
            .default_service(web::to(serve))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .on_connect(keep_a_way_to_hang_up)
        .listen(listener)?;
    Ok(server.run())
}

/// The connection's socket, kept so that a fault can close the connection before any answer.
struct Line(TcpStream);

fn keep_a_way_to_hang_up(connection: &dyn Any, extensions: &mut Extensions) {
    let socket = connection
        .downcast_ref::<net::TcpStream>()
        .and_then(|socket| socket.as_fd().try_clone_to_owned().ok());
    if let Some(socket) = socket {
        extensions.insert(Line(socket.into()));
    }
}

async fn serve(http: HttpRequest, body: web::Bytes, platform: web::Data<Platform>) -> HttpResponse {
    let Some(request) = route(http.method().as_str(), http.path()) else {
        platform
            .world()
            .unexpected
            .push(format!("{} {}", http.method(), http.path()));
        return Answer::not_found().into_response(&platform, None);
    };
    let fault = {
        let mut world = platform.world();
        world.calls.push((request.call, request.id.to_owned()));
        faults::take(&mut world.faults, request.call, request.id)
    };
    match fault {
        Some(FaultKind::Status(status)) => Answer::of_status(status).into_response(&platform, None),
        Some(FaultKind::Replaced(content_type, body)) => {
            Answer::bytes(content_type, body).into_response(&platform, None)
        }
        Some(FaultKind::HangUp) => {
            if let Some(Line(socket)) = http.conn_data() {
                let _ = socket.shutdown(Shutdown::Both);
            }
            HttpResponse::InternalServerError().finish()
        }
        fault => answer(&http, &request, &body, &platform)
            .await
            .into_response(&platform, fault),
    }
}

async fn answer(
    http: &HttpRequest,
    request: &Request<'_>,
    body: &[u8],
    platform: &Platform,
) -> Answer {
    let header = |name: &str| {
        http.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let Request { call, id, chat } = *request;
    if matches!(call, Call::Picture | Call::External) {
        return platform.world().picture(id);
    }
    let token = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let channel = platform
        .world()
        .channels
        .iter()
        .position(|channel| Some(channel.access_token.as_str()) == token);
    let Some(channel) = channel else {
        return Answer::of_status(401);
    };
    if call == Call::WebhookTest {
        return platform.test_webhook(channel, body).await;
    }
    let (mut world, url) = (platform.world(), platform.url.as_str());
    match call {
        Call::Content => {
            let content = world.content(channel, id);
            match header("range").filter(|_| world.honours_range) {
                Some(range) => content.part(range),
                None => content,
            }
        }
        Call::Preview => world.preview(channel, id),
        Call::Transcoding => world.transcoding(channel, id),
        Call::Profile => world.profile(channel, id, url),
        Call::Member => world.member(channel, chat, id, url),
        Call::Summary => world.summary(channel, id, url),
        Call::MemberCount => world.member_count(channel, id),
        Call::MemberIds => {
            let start = http
                .query_string()
                .split('&')
                .find_map(|pair| pair.strip_prefix("start="));
            world.member_ids(channel, id, start)
        }
        Call::BotInfo => world.bot_info(channel),
        Call::Reply => world.reply(channel, header("x-line-retry-key"), body),
        Call::Push => world.push(channel, header("x-line-retry-key"), body),
        Call::Loading => world.show_loading(body),
        Call::Webhook => world.webhook(channel),
        Call::SetWebhook => world.set_webhook(channel, body),
        Call::WebhookTest | Call::Picture | Call::External => Answer::not_found(),
    }
}
