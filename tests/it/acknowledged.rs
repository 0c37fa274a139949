//! Every event that was answered 200 is stored, whatever other clients do in the meantime.

use std::{collections::HashSet, time::Duration};

use line_chat_archive::{fake_line::SignedBody, web::Token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::run;

fn request(path: &str, signed: &SignedBody) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nx-line-signature: {}\r\n\r\n{}",
        signed.body.len(),
        signed.signature,
        signed.body
    )
}

/// actix-web drops a handler when its client resets the connection, and sqlx returns a connection whose `begin` was
/// dropped to the pool inside an open transaction: whatever the next user writes there is acknowledged and lost. In
/// this test thousands of clients reset while others wait for their answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_reset_cost_no_acknowledged_message() {
    run(async |t| {
        const RESETS: usize = 4000;
        const HONEST: usize = 4000;
        let aoi = t.shop.user("Aoi");
        let address = t.service.address;
        // An expired session: its page queries the database.
        let session = Token::random(t.keyring.attestation());
        let page = format!("GET /conversations HTTP/1.1\r\nhost: x\r\ncookie: session={}\r\n\r\n", session.text());
        let mut impatient = vec![];
        for lane in 0..16 {
            let bodies: Vec<String> = (0..RESETS / 16)
                .map(|n| aoi.sends_text(&format!("reset {lane} {n}")).make())
                .map(|event| request("/webhook/shop", &t.shop.signed(&[event])))
                .collect();
            let page = page.clone();
            impatient.push(tokio::spawn(async move {
                for (n, body) in bodies.iter().enumerate() {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.set_zero_linger()?;
                    stream.write_all(if n % 4 == 0 { &page } else { body }.as_bytes()).await?;
                    // The client resets the connection instead of closing it, at every stage: unread, while a
                    // transaction begins, while it commits. The sleep waits for no condition: the time is the fault.
                    let into = Duration::from_micros((n as u64 * 37) % 61 * 100);
                    tokio::time::sleep(into).await;
                    drop(stream);
                }
                Ok::<_, std::io::Error>(())
            }));
        }
        let mut honest = vec![];
        for lane in 0..16 {
            let events: Vec<_> =
                (0..HONEST / 16).map(|n| aoi.sends_text(&format!("honest {lane} {n}")).make()).collect();
            let shop = t.shop.clone();
            honest.push(tokio::spawn(async move {
                let mut acknowledged = vec![];
                let mut stream = TcpStream::connect(address).await?;
                for event in events {
                    let body = request("/webhook/shop", &shop.signed(std::slice::from_ref(&event)));
                    stream.write_all(body.as_bytes()).await?;
                    let mut answer = [0; 2048];
                    let read = stream.read(&mut answer).await?;
                    if answer[..read].starts_with(b"HTTP/1.1 200") {
                        acknowledged.push(event.message_id().to_owned());
                    }
                }
                Ok::<_, std::io::Error>(acknowledged)
            }));
        }
        let mut acknowledged = vec![];
        for lane in honest {
            acknowledged.extend(lane.await??);
        }
        for lane in impatient {
            lane.await??;
        }
        assert!(acknowledged.len() > HONEST * 9 / 10, "{} acknowledged", acknowledged.len());
        // This connection is independent of the service.
        let mut db = sqlx::ConnectOptions::connect(&t.database).await?;
        let stored: Vec<String> = sqlx::query_scalar("select message_id from message").fetch_all(&mut db).await?;
        let stored: HashSet<String> = stored.into_iter().collect();
        let lost = acknowledged.iter().filter(|id| !stored.contains(*id)).count();
        assert_eq!(lost, 0, "of {}", acknowledged.len());
        let stuck: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
        )
        .fetch_one(&mut db)
        .await?;
        assert_eq!(stuck, 0);
        Ok(())
    })
    .await;
}
