//! Tests which account may connect as which role, what the service's role may do, and how archives from before that
//! role are taken over.

use std::{
    fs, io,
    os::unix::{fs::MetadataExt, net::UnixStream},
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};

use super::{Account, Embedded, Home, Owner, is_root};
use crate::embedded::{DATABASE, binaries::Binaries};

/// The SQLSTATE that a statement is refused with; "" if it is not.
async fn refused(options: &PgConnectOptions, sql: &str) -> String {
    let mut connection = match PgConnection::connect_with(options).await {
        Ok(connection) => connection,
        Err(error) => return state(&error),
    };
    match connection.execute(AssertSqlSafe(sql.to_owned())).await {
        Ok(_) => String::new(),
        Err(error) => state(&error),
    }
}

fn state(error: &sqlx::Error) -> String {
    let refused = error.as_database_error().and_then(|error| error.code());
    refused.map_or_else(|| error.to_string(), |code| code.into_owned())
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[tokio::test]
async fn the_services_role_owns_its_database_and_has_no_way_out_of_it() {
    let home = Home::new();
    let embedded = home.start().await;
    let options = embedded.connect_options(DATABASE);
    assert_eq!(
        refused(&options, "create table mine (n int); drop table mine").await,
        ""
    );
    for sql in [
        "copy (select 1) to program 'cat >/dev/null'",
        "copy (select 1) to '/tmp/line-chat-archive-test'",
        "create temporary table t (line text); copy t from '/etc/passwd'",
        "select pg_read_file('postgresql.conf')",
        "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')",
        "create role other superuser",
        "alter role line_chat_archive superuser",
        "set role archive",
        "set session authorization archive",
        "alter system set fsync = off",
        "create function f() returns int language c as 'x'",
        "load 'plpgsql'",
        "grant pg_execute_server_program to line_chat_archive",
        "create database other",
        "select * from pg_authid",
        "select pg_reload_conf()",
    ] {
        let state = refused(&options, sql).await;
        assert_eq!(state, INSUFFICIENT_PRIVILEGE, "{sql}");
    }
    let held: bool = super::scalar(
        &embedded,
        "select rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls from pg_roles
         where rolname = current_user",
    )
    .await;
    assert!(!held);
    embedded.stop().await.unwrap();
}

/// The superuser must not run functions and operators that the service's role has left in its database, at the next
/// start.
#[tokio::test]
async fn an_operator_that_the_service_made_is_not_run_by_the_superuser() {
    let home = Home::new();
    let embedded = home.start().await;
    let options = embedded.connect_options(DATABASE);
    let trap = "
        create table taken (by_whom name);
        grant all on taken to public;
        create function trap(oid, regrole) returns bool language plpgsql as $$
            begin insert into public.taken values (current_user); return true; end $$;
        create function trap(name, text) returns bool language plpgsql as $$
            begin insert into public.taken values (current_user); return true; end $$;
        create operator = (leftarg = oid, rightarg = regrole, function = trap);
        create operator <> (leftarg = name, rightarg = text, function = trap);
        create function format(text, name) returns text language plpgsql as $$
            begin insert into public.taken values (current_user); return $1; end $$;
        alter database archive set search_path = public, pg_catalog;
        alter role line_chat_archive set search_path = public, pg_catalog";
    assert_eq!(refused(&options, trap).await, "");
    embedded.stop().await.unwrap();
    let embedded = home.start().await;
    let taken: Vec<String> = {
        let mut connection = PgConnection::connect_with(&embedded.connect_options(DATABASE))
            .await
            .unwrap();
        sqlx::query_scalar("select by_whom::text from public.taken")
            .fetch_all(&mut connection)
            .await
            .unwrap()
    };
    assert_eq!(taken, [""; 0]);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_takes_nobodys_word_for_who_they_are() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let service = Account::named("nobody").unwrap();
    let say = |_: &str| {};
    let elsewhere = home.elsewhere();
    let embedded = Embedded::start_with(&home.data_dir(), &elsewhere, Some(&service), &say)
        .await
        .unwrap();
    let socket = home.data_dir().join("postgres/.s.PGSQL.5432");
    let connects = |name: &str| {
        let account = Account::named(name).unwrap();
        account.run_as_account(|| UnixStream::connect(&socket).map(drop))
    };
    connects("nobody").unwrap();
    for stranger in ["daemon", "bin"] {
        let refused = connects(stranger).unwrap_err();
        assert_eq!(
            refused.kind(),
            io::ErrorKind::PermissionDenied,
            "{stranger}"
        );
    }
    // The server asks the kernel about accounts that can pass the directory. Only the new thread switches to the
    // account.
    let as_account = |name: &'static str, options: PgConnectOptions| {
        let account = Account::named(name).unwrap();
        std::thread::spawn(move || {
            account.run_as_account(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(runtime.block_on(refused(&options, "select 1")))
            })
        })
        .join()
        .unwrap()
        .unwrap()
    };
    let (own, superuser) = (
        embedded.connect_options(DATABASE),
        embedded.superuser_options(DATABASE),
    );
    assert_eq!(as_account("nobody", own.clone()), "");
    assert_eq!(as_account("nobody", superuser.clone()), "28000");
    assert_eq!(as_account("postgres", superuser), "");
    assert_eq!(as_account("postgres", own), "28000");
    embedded.stop().await.unwrap();
}

/// Makes an archive like those of earlier versions: `trust`, one role (the superuser), which owns everything, and files
/// that root owns.
async fn old_style(home: &Home) {
    let embedded = home.start().await;
    let superuser = embedded.superuser_options(DATABASE);
    let old = "
        alter database archive owner to archive;
        create type mood as enum ('good');
        create domain word as text;
        create table kept (id bigint generated always as identity primary key, text word, mood mood);
        create sequence loose;
        create view shown as select text from kept;
        create function twice(n int) returns int language sql return n * 2;
        insert into kept (text, mood) values ('คุณ さん', 'good');
        revoke line_chat_archive_app from line_chat_archive;
        drop owned by line_chat_archive;
        drop role line_chat_archive";
    assert_eq!(refused(&superuser, old).await, "");
    embedded.stop().await.unwrap();
    let data = home.data_dir();
    let hba = data.join("postgres/data/pg_hba.conf");
    fs::write(hba, "local all all trust\nhost all all all reject\n").unwrap();
    fs::write(data.join("postgres/data/pg_ident.conf"), "").unwrap();
    for name in ["postgres-turn.lock", "postgres-users.lock"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    for name in ["turn.lock", "users.lock"] {
        fs::write(data.join("postgres").join(name), "").unwrap();
    }
    fs::create_dir_all(data.join("keyring/00")).unwrap();
    fs::write(data.join("keyring/00/key"), "key").unwrap();
    fs::write(data.join("secret.key"), [7; 32]).unwrap();
}

/// Checks that the archive of [`old_style`] still has its data, and that the service's role owns everything.
async fn is_taken_over(embedded: &Embedded) {
    let kept: String = super::scalar(embedded, "select text::text from kept").await;
    assert_eq!(kept, "คุณ さん");
    let others: Vec<String> = {
        let options = embedded.connect_options(DATABASE);
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(
            "select relname::text from pg_class where relnamespace = 'public'::regnamespace
                and relowner <> 'line_chat_archive'::regrole
             union all select typname::text from pg_type where typnamespace = 'public'::regnamespace
                and typowner <> 'line_chat_archive'::regrole
             union all select proname::text from pg_proc where pronamespace = 'public'::regnamespace
                and proowner <> 'line_chat_archive'::regrole
             union all select datname::text from pg_database where datname = current_database()
                and datdba <> 'line_chat_archive'::regrole",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap()
    };
    assert_eq!(others, [""; 0]);
    let options = embedded.connect_options(DATABASE);
    let change = "alter table kept add more int; create table further (n int)";
    assert_eq!(refused(&options, change).await, "", "migrations work");
    let trusted = refused(
        &embedded.superuser_options(DATABASE),
        "copy (select 1) to program 'cat >/dev/null'",
    )
    .await;
    assert_eq!(trusted, "", "for root and PostgreSQL's account");
}

#[tokio::test]
async fn an_archive_of_before_is_taken_over_with_what_it_holds() {
    let home = Home::new();
    old_style(&home).await;
    let embedded = home.start().await;
    is_taken_over(&embedded).await;
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn an_archive_of_before_is_given_to_the_services_account_and_its_running_server_adopted() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    old_style(&home).await;
    // The server of an earlier version still runs: it uses `trust`, and only its own account can connect to its socket.
    let base = home.data_dir().join("postgres");
    let uid = fs::metadata(&base).unwrap().uid();
    let owner = Owner::existing(&base, uid, &[]).unwrap();
    let data_major = fs::read_to_string(base.join("data/PG_VERSION")).unwrap();
    let data_major = data_major.trim().parse().ok();
    let binaries = Binaries::for_data(&base.join("data"), data_major, &owner, &|_| {})
        .await
        .unwrap();
    let mut start = owner.command("/bin/sh");
    start
        .args([
            "-c",
            r#""$1" start -w -D "$2" -l "$3" -o "-c unix_socket_permissions=0700" >/dev/null"#,
            "sh",
        ])
        .arg(binaries.dir.join("pg_ctl"))
        .arg(base.join("data"))
        .arg(base.join("log/old.log"));
    assert!(start.status().await.unwrap().success());
    let started = home.postmaster();

    let service = Account::named("nobody").unwrap();
    let elsewhere = home.elsewhere();
    let embedded =
        Embedded::start_with(&home.data_dir(), &elsewhere, Some(&service), &|_: &str| {})
            .await
            .unwrap();
    assert_eq!(home.postmaster(), started, "it was adopted");
    is_taken_over(&embedded).await;
    let socket = base.join(".s.PGSQL.5432");
    service
        .run_as_account(|| UnixStream::connect(&socket).map(drop))
        .unwrap();
    for name in ["", "keyring", "keyring/00", "keyring/00/key", "secret.key"] {
        let found = fs::symlink_metadata(home.data_dir().join(name)).unwrap();
        assert_eq!(found.uid(), service.uid(), "{name}");
    }
    embedded.stop().await.unwrap();
    assert_eq!(home.postmaster(), "", "and stopped by the last one");
}

#[tokio::test]
async fn a_service_of_a_version_before_keeps_its_server() {
    let home = Home::new();
    old_style(&home).await;
    let base = home.data_dir().join("postgres");
    let old = fs::File::open(base.join("users.lock")).unwrap();
    old.lock_shared().unwrap();
    home.start().await.stop().await.unwrap();
    assert_ne!(home.postmaster(), "", "the command has left it running");

    // The reverse: this is the check of an earlier version when it ends.
    drop(old);
    let embedded = home.start().await;
    let old = fs::File::open(base.join("users.lock")).unwrap();
    assert!(old.try_lock().is_err(), "it sees that somebody is left");
    drop(old);
    embedded.stop().await.unwrap();
    assert_eq!(home.postmaster(), "");
}
