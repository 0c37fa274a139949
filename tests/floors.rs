//! Enforces the architecture's layers: a room (a top-level module) imports only what `ROOMS` allows, and a file stays
//! small. `ARCHITECTURE.md` gives the reasons; a new room has to be added here.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "floors/circles.rs"]
mod circles;
#[path = "floors/imports.rs"]
mod imports;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use imports::imports;

struct Room {
    name: &'static str,
    floor: u8,
    /// Rooms, or paths within a room if only that part may be imported.
    may_import: &'static [&'static str],
}

const fn room(floor: u8, name: &'static str, may_import: &'static [&'static str]) -> Room {
    Room {
        name,
        floor,
        may_import,
    }
}

/// Top floors first. A room imports only rooms on lower floors.
const ROOMS: &[Room] = &[
    // Assembly: the rooms that may import every other room.
    room(6, "main", ALL),
    room(6, "lib", ALL),
    room(6, "app", ALL),
    room(6, "config", ALL),
    room(6, "telemetry", ALL),
    room(6, "environment", &[]),
    room(
        5,
        "web",
        &[
            "ingest",
            "erasure",
            "records",
            "ledger",
            "search",
            "objects",
            "seal",
            "live",
            "clock",
            "watchdog",
            "line::envelope",
            "line::event",
            "line::message",
            "line::other_event",
            "line::raw_fields",
            "line::signature",
        ],
    ),
    // `line::client`, `objects` and the keyring only to pass them on to the functions that do the work.
    room(
        4,
        "worker",
        &[
            "media",
            "people",
            "erasure",
            "exports",
            "relay",
            "records",
            "clock",
            "pool",
            "watchdog",
            "line::client",
            "objects::Objects",
            "seal::Keyring",
        ],
    ),
    room(
        4,
        "ingest",
        &[
            "records",
            "erasure",
            "seal",
            "search",
            "line::envelope",
            "line::event",
            "line::message",
            "clock",
        ],
    ),
    room(
        3,
        "media",
        &["records", "objects", "seal", "line", "clock", "watchdog"],
    ),
    room(
        3,
        "people",
        &["records", "objects", "seal", "line", "clock"],
    ),
    room(
        3,
        "erasure",
        &["records", "ledger", "objects", "seal", "clock", "watchdog"],
    ),
    room(3, "exports", &["records", "objects", "seal", "clock"]),
    room(3, "relay", &["records", "seal", "clock"]),
    room(
        2,
        "records",
        &[
            "line::id",
            "ledger",
            "live",
            "objects::Error",
            "objects::ObjectKey",
            "seal",
            "clock",
        ],
    ),
    room(2, "search", &["seal"]),
    room(0, "line", &[]),
    room(1, "objects", &["marked"]),
    room(1, "seal", &["marked"]),
    room(0, "marked", &[]),
    room(0, "ledger", &[]),
    room(0, "live", &[]),
    room(0, "clock", &[]),
    room(0, "watchdog", &[]),
    room(1, "pool", &["watchdog"]),
    room(0, "embedded", &[]),
    // Imports nothing of the archive: its own JSON and HMAC code cannot share a mistake with it.
    room(0, "fake_line", &[]),
];

const ALL: &[&str] = &["*"];

/// Files that may be longer than `LONGEST` lines, and why.
const LONG: &[(&str, &str)] = &[];
const LONGEST: usize = 400;

fn find(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// The errors in the imports of the file at `path` (relative to `src`).
fn objections(path: &Path, source: &str) -> Vec<String> {
    let module = module_of(path);
    let at = path.display();
    let Some(room) = module.first().map_or(find("lib"), |name| find(name)) else {
        return vec![format!(
            "{at}: the room `{}` is not in ROOMS of tests/floors.rs",
            module[0]
        )];
    };
    let test_file = path.components().any(|part| {
        ["tests", "tests.rs"]
            .iter()
            .any(|name| part.as_os_str() == *name)
    });
    let mut objections = Vec::new();
    for import in imports(&module, source) {
        let to = &import.path[0];
        let allowed = to == room.name
            || room
                .may_import
                .iter()
                .any(|may| *may == "*" || begins(&import.path, may))
            || (import.in_test || test_file) && test_may(room, to);
        if find(to).is_none() && to != "MIGRATOR" {
            objections.push(format!(
                "{at}: imports `{to}`, which is no room in ROOMS of tests/floors.rs"
            ));
        } else if !allowed {
            objections.push(format!(
                "{at}: `{}` may not import `{}`",
                room.name,
                import.path.join("::")
            ));
        }
    }
    objections
}

/// A room's tests may also use the rooms below it, the fake LINE platform, a scratch database and its schema.
fn test_may(room: &Room, to: &str) -> bool {
    ["fake_line", "embedded", "MIGRATOR"].contains(&to)
        || find(to).is_some_and(|other| other.floor < room.floor)
}

fn begins(path: &[String], with: &str) -> bool {
    let mut path = path.iter();
    with.split("::")
        .all(|segment| path.next().is_some_and(|own| own == segment))
}

/// `web/thread/mod.rs` → [web, thread]; `lib.rs` → []
fn module_of(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let mut module: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

fn sources() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut waiting = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&src).unwrap().to_owned(), source));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_import_leads_where_it_may() {
    let objections: Vec<_> = sources()
        .iter()
        .flat_map(|(path, source)| objections(path, source))
        .collect();
    assert!(objections.is_empty(), "\n{}", objections.join("\n"));
}

#[test]
fn the_table_itself_leads_downward() {
    for room in ROOMS.iter().filter(|room| room.may_import != ALL) {
        for to in room.may_import {
            let to = to.split("::").next().unwrap();
            let other =
                find(to).unwrap_or_else(|| panic!("{} imports {to}, which is no room", room.name));
            assert!(other.floor < room.floor, "{} is not above {to}", room.name);
        }
    }
}

#[test]
fn files_are_small() {
    let exceptions: BTreeSet<_> = LONG.iter().map(|(path, _)| *path).collect();
    for (path, source) in sources() {
        let lines = source.lines().count();
        let long = exceptions.contains(path.to_str().unwrap());
        assert!(
            lines <= LONGEST || long,
            "{} has {lines} lines: divide it, or enter it in LONG with a reason",
            path.display()
        );
        assert!(
            lines > LONGEST || !long,
            "{} is short enough: remove it from LONG",
            path.display()
        );
    }
    for (path, _) in LONG {
        let is_there = sources().iter().any(|(found, _)| found == Path::new(path));
        assert!(is_there, "{path} does not exist: remove it from LONG");
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles::circles(&graph(&sources()));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The files that each file imports, outside of tests. A path leads to the deepest module that is a file.
fn graph(sources: &[(PathBuf, String)]) -> circles::Graph {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|(path, _)| module_of(path)).collect();
    let mut graph = circles::Graph::new();
    for (path, source) in sources {
        let module = module_of(path);
        if module.iter().any(|part| part == "tests") {
            continue;
        }
        let mut to = BTreeSet::new();
        for import in imports(&module, source)
            .into_iter()
            .filter(|one| !one.in_test)
        {
            let mut file = import.path;
            while !file.is_empty() && !modules.contains(&file) {
                file.pop();
            }
            if !file.is_empty() && file != module {
                to.insert(file.join("::"));
            }
        }
        graph.insert(module.join("::"), to);
    }
    graph
}

mod the_checker_objects {
    use super::*;

    #[test]
    fn to_a_circle_of_three_files_and_not_to_a_re_export() {
        let file = |path: &str, source: &str| (PathBuf::from(path), source.to_owned());
        let sources = [
            file("media/mod.rs", "mod a; mod b; mod c;\npub use a::A;"),
            file("media/a.rs", "use super::b::B;"),
            file("media/b.rs", "use super::{c::C, A};"),
            file("media/c.rs", "fn f() { crate::media::a::g() }"),
        ];
        let found = circles::circles(&graph(&sources));
        assert_eq!(found, ["media::a -> media::b -> media::c -> media::a"]);
        let in_test = [
            file("media/a.rs", "use super::b::B;"),
            file(
                "media/b.rs",
                "#[cfg(test)]\nmod tests { use super::super::a::A; }",
            ),
        ];
        assert!(circles::circles(&graph(&in_test)).is_empty());
    }

    fn to(path: &str, source: &str) -> String {
        objections(Path::new(path), source).join("\n")
    }

    #[test]
    fn to_an_arrow_upward_however_it_is_written() {
        for upward in [
            "use crate::ingest::Batch;",
            "pub use crate::ingest;",
            "use crate::{\n    clock::Clock, // why\n    ingest::{self, Batch as B},\n};",
            "fn f() { let x = crate::ingest::batch(); }",
            "use super::super::ingest::Batch;",
            "use super::super::{line::id::MessageId, ingest};",
        ] {
            assert!(
                to("records/messages.rs", upward).contains("may not import `ingest"),
                "{upward}"
            );
        }
        assert!(
            to("records/mod.rs", "use super::web::pages;").contains("may not import `web::pages`")
        );
    }

    #[test]
    fn to_a_part_of_a_room_that_is_not_meant() {
        assert_eq!(to("web/webhook.rs", "use crate::line::event::Event;"), "");
        assert!(to("web/webhook.rs", "use crate::line::client::LineApi;").contains("line::client"));
        assert!(
            to("web/webhook.rs", "use crate::line::{event::Event, client};")
                .contains("line::client")
        );
        assert!(to("web/webhook.rs", "use crate::line;").contains("may not import `line`"));
        assert!(to("ingest/mod.rs", "use crate::line::*;").contains("may not import `line::*`"));
    }

    #[test]
    fn to_rooms_it_does_not_know() {
        assert!(to("cellar/mod.rs", "").contains("`cellar` is not in ROOMS"));
        assert!(
            to("web/mod.rs", "use crate::cellar::Wine;").contains("`cellar`, which is no room")
        );
        assert!(to("clock.rs", "use super::*;").contains("`*`, which is no room"));
        assert!(to("app.rs", "use crate::cellar::Wine;").contains("`cellar`, which is no room"));
    }

    #[test]
    fn to_an_upward_arrow_in_tests_too_but_lets_them_use_more() {
        let test = |import: &str| {
            format!("use crate::clock::Clock;\n#[cfg(test)]\nmod tests {{\n{import}\n}}")
        };
        assert_eq!(
            to("media/mod.rs", &test("use crate::fake_line::World;")),
            ""
        );
        assert_eq!(
            to(
                "records/jobs.rs",
                &test("use crate::{MIGRATOR, embedded::Scratch};")
            ),
            ""
        );
        assert_eq!(to("records/jobs.rs", &test("use super::*;")), "");
        assert_eq!(to("clock.rs", &test("use super::*;")), "");
        assert!(
            to("media/mod.rs", &test("use crate::web::pages;"))
                .contains("may not import `web::pages`")
        );
        assert!(
            to("media/mod.rs", "use crate::fake_line::World;")
                .contains("may not import `fake_line")
        );
        assert_eq!(to("media/tests.rs", "use crate::fake_line::World;"), "");
    }

    #[test]
    fn not_to_words_in_comments_and_to_the_visibility_of_things() {
        let source = "/// See [`crate::web`].\n//! use crate::web;\npub(in crate::records) fn f() {}\npub(crate) fn g() {}";
        assert_eq!(to("records/jobs.rs", source), "");
    }
}
