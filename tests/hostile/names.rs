//! A thousand file names, the same in every run.

/// Each seed is the core of a family of names; [`all`] adds the variations.
const SEEDS: [&str; 50] = [
    "\u{202e}gpj.exe",
    "photo\u{202e}\u{2066}gnp.scr",
    "\u{200f}\u{061c}x.pdf",
    "a\"\r\nSet-Cookie: x=y\r\n\r\n<script>alert(1)</script>.pdf",
    "a\r\nContent-Type: text/html\r\n\r\n.pdf",
    "a\n.pdf",
    "a\r.pdf",
    "a\u{0}b.pdf",
    "a.pdf\u{0}.exe",
    "\u{1}\u{7f}\u{85}\u{9b}x.pdf",
    "\u{1b}[31mred.pdf",
    "a\u{2028}b\u{2029}c.pdf",
    "../../../../etc/passwd",
    "..\\..\\..\\windows\\system32\\cmd.exe",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%5cx",
    "/etc/cron.d/x",
    "C:\\autorun.inf",
    "\\\\host\\share\\x",
    "file:///etc/passwd",
    "~/.bashrc",
    ".htaccess",
    "...",
    "..",
    "x.pdf. . .",
    "x.pdf ",
    " x.pdf",
    "x.txt:hidden.exe",
    "CON",
    "nul.txt",
    "COM1.tar.gz",
    "lpt9 .x",
    "CONIN$",
    "COM\u{b9}.txt",
    "desktop.ini",
    "x\"; filename=\"evil.exe",
    "x; filename*=UTF-8''evil.exe",
    "x'; filename*=utf-8'en'evil%2eexe",
    "=?utf-8?B?ZXZpbC5leGU=?=",
    "x\\\".exe",
    "<img class=hacked src=x onerror=alert(1)>.html",
    "\"><script class=hacked>alert(1)</script>.svg",
    "javascript:alert(1).url",
    "{{7*7}}${7*7}.pdf",
    "%s%n%x%d.pdf",
    "👩‍👩‍👧‍👦🏴‍☠️.png",
    "見積書 最終.pdf",
    "e\u{301}\u{300}\u{302}\u{303}\u{304}.pdf",
    "LONE.pdf",
    "",
];

/// `LONE` stands for half of a surrogate pair, which a Rust string cannot contain.
pub fn all() -> Vec<String> {
    let around: [fn(&str, usize) -> String; 20] = [
        |seed, _| seed.to_owned(),
        |seed, n| format!("{n}{seed}"),
        |seed, n| format!("{seed}{n}"),
        |seed, n| format!("{n} {seed}.pdf"),
        |seed, n| format!("{seed}{seed}{n}"),
        |seed, n| format!("{}{n}.pdf", seed.repeat(60)),
        |seed, n| format!("{n}{}.{seed}", "a".repeat(255)),
        |seed, n| format!("{n}{}{seed}", "あ".repeat(100)),
        |seed, n| format!("{n}{}{seed}", "😀".repeat(64)),
        |seed, n| format!("../{seed}/{n}"),
        |seed, n| format!("{n}\\{seed}"),
        |seed, n| format!("{n}\u{202e}{seed}"),
        |seed, n| format!("{seed}\r\nX-{n}: y"),
        |seed, n| format!("\u{0}{seed}\u{0}{n}"),
        |seed, n| format!("{n}\"{seed}\""),
        |seed, n| format!("{n}%22{seed}%0d%0a"),
        |seed, n| format!("{n};{seed};"),
        |seed, n| format!("{n}\u{200b}{seed}\u{feff}.exe"),
        |seed, n| format!("  ..{n}.{seed}.. "),
        |seed, n| format!("{}{n}", seed.to_uppercase()),
    ];
    around
        .iter()
        .enumerate()
        .flat_map(|(m, around)| {
            let name = move |(n, seed): (usize, &&str)| around(seed, m * SEEDS.len() + n);
            SEEDS.iter().enumerate().map(name)
        })
        .collect()
}
