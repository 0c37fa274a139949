//! Strangers who guess passwords, and the effect on the owners of the logins and on the machine.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, Response, header};
use tokio::time::{Instant, sleep_until};

use crate::{
    site::{Site, set_cookie},
    support::{visitor::Visitor, world::PASSWORD},
};

/// Signs in from an address, as if through a proxy on this machine.
async fn sign_in(visitor: &Visitor, from: &str, login: &str, password: &str) -> Response {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("login", login), ("password", password)])
        .finish();
    visitor
        .request(Method::POST, "/login")
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("x-forwarded-for", from)
        .body(form)
        .send()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_the_networks_of_one_site_keeps_no_owner_out() {
    let site = Arc::new(Site::new().await);
    site.operator("keiko", "operator", None).await;
    let begin = Instant::now();
    // 80 attempts a second for four seconds, with 40 logins, from 256 /64 networks of one /56.
    let flood = (0..320_u32).map(|n| {
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            sleep_until(begin + Duration::from_micros(12_500) * n).await;
            let from = format!("2001:db8:1:{:x}::{n:x}", n % 256);
            let login = format!("login{}", n % 40);
            let answer = sign_in(&site.stranger(), &from, &login, "guess").await;
            answer.status().as_u16()
        })
    });
    let flood: Vec<_> = flood.collect();
    // Each time from a different network that keiko never used.
    let mut owner = vec![];
    for n in 0..31_u32 {
        sleep_until(begin + Duration::from_millis(120) * n).await;
        let from = format!("198.{}.100.7", 18 + n);
        let answer = sign_in(&site.stranger(), &from, "keiko", PASSWORD).await;
        owner.push(answer.status().as_u16());
    }
    assert_eq!(owner, [303; 31]);
    let mut evaluated = 0;
    for answer in flood {
        evaluated += u32::from(answer.await.unwrap() == 401);
    }
    assert!(evaluated <= 30, "{evaluated} of 320 were hashed");
}

#[tokio::test]
async fn rotating_networks_cannot_try_one_login_without_bound_and_its_owner_gets_in() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let office = "192.0.2.7";
    let mut browser = site.stranger();
    let first = sign_in(&browser, office, "keiko", PASSWORD).await;
    assert_eq!(first.status(), 303);
    let mut evaluated = 0;
    for n in 0..60_u32 {
        let from = format!("{}.{}.0.1", 20 + n, n);
        let answer = sign_in(&site.stranger(), &from, "KEIKO", "guess").await;
        evaluated += u32::from(answer.status() == 401);
    }
    assert_eq!(evaluated, 20);
    let elsewhere = "100.64.0.1";
    let refused = sign_in(&site.stranger(), elsewhere, "keiko", PASSWORD).await;
    assert_eq!(refused.status(), 429, "without device and network");
    assert_eq!(refused.headers()[header::RETRY_AFTER], "600");
    let answer = sign_in(&site.stranger(), office, "keiko", PASSWORD).await;
    assert_eq!(answer.status(), 303, "from the office");
    browser.cookie = Some(set_cookie(&first, "device").unwrap());
    let answer = sign_in(&browser, elsewhere, "keiko", PASSWORD).await;
    assert_eq!(answer.status(), 303, "with the device");
    let other = sign_in(&browser, elsewhere, "nobody", "guess").await;
    assert_eq!(other.status(), 401);
}

#[tokio::test]
async fn a_device_is_known_by_its_cookie_until_the_password_is_reset() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    site.operator("ken", "operator", None).await;
    let answer = sign_in(&site.stranger(), "192.0.2.7", "keiko", PASSWORD).await;
    let cookies: Vec<_> = answer
        .headers()
        .get_all(header::SET_COOKIE)
        .iter()
        .collect();
    let set = cookies[1].to_str().unwrap();
    assert!(
        set.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=15552000"),
        "{set}"
    );
    let device = set_cookie(&answer, "device").unwrap();
    let mut browser = site.stranger();
    browser.cookie = Some(device.clone());
    assert_eq!(
        browser.status("/conversations").await,
        303,
        "it opens nothing"
    );

    let close = async |login: &str| {
        for n in 0..20_u32 {
            let from = format!("{}.{n}.0.1", 20 + n);
            sign_in(&site.stranger(), &from, login, "guess").await;
        }
    };
    close("keiko").await;
    close("ken").await;
    let from = "100.64.0.1";
    let answer = sign_in(&browser, from, "ken", PASSWORD).await;
    assert_eq!(answer.status(), 429, "another's device is a stranger's");
    browser.cookie = Some(format!("{device}; {device}"));
    let answer = sign_in(&browser, from, "keiko", PASSWORD).await;
    assert_eq!(answer.status(), 429, "two are none");
    browser.cookie = Some(device.clone());
    let answer = sign_in(&browser, from, "keiko", PASSWORD).await;
    assert_eq!(answer.status(), 303);
    let renewed = set_cookie(&answer, "device").unwrap();

    let new = "another long password";
    site.reset_password("keiko", new).await;
    for old in [device, renewed] {
        browser.cookie = Some(old);
        // A network in which the device was never used.
        let answer = sign_in(&browser, "100.99.0.1", "keiko", new).await;
        assert_eq!(answer.status(), 429, "a device of the old password");
    }
}

#[tokio::test]
async fn a_network_is_known_until_the_password_is_reset() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    // Somebody who knew the password has signed in from there; that is why it is reset.
    let thief = "192.0.2.7";
    let answer = sign_in(&site.stranger(), thief, "keiko", PASSWORD).await;
    assert_eq!(answer.status(), 303);
    let new = "another long password";
    site.reset_password("keiko", new).await;
    for n in 0..20_u32 {
        let from = format!("{}.{n}.0.1", 20 + n);
        sign_in(&site.stranger(), &from, "keiko", "guess").await;
    }
    let answer = sign_in(&site.stranger(), thief, "keiko", "guess").await;
    assert_eq!(answer.status(), 429, "a network of the old password");
    site.clock.advance(Duration::from_secs(600));
    let office = "198.51.100.7";
    let answer = sign_in(&site.stranger(), office, "keiko", new).await;
    assert_eq!(answer.status(), 303);
    let answer = sign_in(&site.stranger(), thief, "keiko", "guess").await;
    assert_eq!(
        answer.status(),
        401,
        "the owner's success gives the try back"
    );
    let answer = sign_in(&site.stranger(), office, "keiko", "guess").await;
    assert_eq!(
        answer.status(),
        401,
        "the network of the new password has its own"
    );
}

#[tokio::test]
async fn behind_https_the_device_cookie_is_bound_to_it() {
    let site = Site::seen_at("https://archive.test/").await;
    site.operator("keiko", "operator", None).await;
    let answer = site.stranger().sign_in("keiko", PASSWORD).await;
    let cookies: Vec<_> = answer
        .headers()
        .get_all(header::SET_COOKIE)
        .iter()
        .collect();
    let set = cookies[1].to_str().unwrap();
    assert!(set.starts_with("__Host-device="), "{set}");
    assert!(set.contains("; Secure; Path=/"), "{set}");
}

/// The resident memory of this process in KiB, which includes the service.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

/// Runs in its own process, because the memory of other tests would be counted too.
#[test]
fn failed_sign_ins_take_no_memory() {
    let test = "sign_in_limits::failed_sign_ins_measured";
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("MEASURE_MEMORY", "200")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("after 200 failed sign-ins"), "{said}");
}

/// Does nothing unless [`failed_sign_ins_take_no_memory`] runs it. `MEASURE_MEMORY` is the number of sign-ins.
#[expect(clippy::print_stdout, reason = "the figure is what was asked for")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn failed_sign_ins_measured() {
    let Some(tries) = std::env::var("MEASURE_MEMORY").ok() else {
        return;
    };
    let rounds = tries.parse::<u32>().unwrap() / 8;
    let site = Arc::new(Site::new().await);
    site.operator("keiko", "operator", None).await;
    for _ in 0..20 {
        site.stranger().page("/login").await;
    }
    let idle = resident();
    for round in 0..rounds {
        let tries = (0..8_u32).map(|n| {
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                let from = format!("{}.{}.{round}.1", 20 + round % 80, n);
                let login = format!("login {round} {n}");
                let answer = sign_in(&site.stranger(), &from, &login, "guess").await;
                answer.status().as_u16()
            })
        });
        for answer in tries.collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), 401);
        }
    }
    let grown = resident().saturating_sub(idle);
    println!("after {tries} failed sign-ins: {grown} KiB more than idle");
    assert!(grown < 32 * 1024, "{grown} KiB");
}
