//! Reads all paths into this crate out of a source file: `crate::…` and `super::…`, not only in `use` declarations.

/// A path from the root of the crate, and whether it is in a `#[cfg(test)]` module.
pub struct Import {
    pub path: Vec<String>,
    pub in_test: bool,
}

/// All paths in the source of the module `module`. A path to the crate's root itself is left out.
///
/// It does not recognise strings and block comments: a path in one of them counts, which is easily seen and fixed.
pub fn imports(module: &[String], source: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let code: String = source
        .lines()
        .map(without_comment)
        .collect::<Vec<_>>()
        .join("\n");
    // By this project's convention the test module is the last item in a file.
    let (code, test) = code.split_once("#[cfg(test)]\nmod ").unwrap_or((&code, ""));
    let inner = test.split(|c: char| !is_word(c)).next().unwrap_or_default();
    let mut test_module = module.to_vec();
    test_module.push(inner.to_owned());
    for (code, module, in_test) in [(code, module, false), (test, &test_module[..], true)] {
        let mut paths = Vec::new();
        for (at, _) in code
            .match_indices("crate::")
            .chain(code.match_indices("super::"))
        {
            // Skips the end of another word, and the second `super` of two, which is read with the first.
            if !code[..at].ends_with(|c: char| is_word(c) || c == ':' || c == '$') {
                read_tree(&code[at..], &mut Vec::new(), &mut paths);
            }
        }
        found.extend(
            paths
                .into_iter()
                .filter_map(|path| from_root(module, path))
                .map(|path| Import { path, in_test }),
        );
    }
    found
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads `a::b::{c, d::e as f}` as `a::b::c` and `a::b::d::e`. Returns the rest of the source.
fn read_tree<'a>(
    mut rest: &'a str,
    prefix: &mut Vec<String>,
    paths: &mut Vec<Vec<String>>,
) -> &'a str {
    let depth = prefix.len();
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            loop {
                rest = read_tree(rest, prefix, paths);
                // `as name` can follow; then a comma, or the end of the group.
                let Some(end) = rest.find([',', '}']) else {
                    break;
                };
                let more = rest[end..].starts_with(',');
                rest = rest[end + 1..].trim_start();
                if !more {
                    break;
                }
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
            }
            break;
        }
        let word = if rest.starts_with('*') {
            1
        } else {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        };
        prefix.push(rest[..word].to_owned());
        rest = &rest[word..];
        match rest.strip_prefix("::") {
            Some(after) if !after.starts_with('<') => rest = after,
            _ => {
                paths.push(prefix.clone());
                break;
            }
        }
    }
    prefix.truncate(depth);
    rest
}

/// Resolves `crate`, `super` and a final `self` against the module that contains the path.
fn from_root(module: &[String], path: Vec<String>) -> Option<Vec<String>> {
    let ups = path
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    let mut whole = if path[0] == "crate" {
        Vec::new()
    } else {
        module[..module.len().saturating_sub(ups)].to_vec()
    };
    whole.extend(
        path.into_iter()
            .skip(ups.max(1))
            .filter(|segment| segment != "self"),
    );
    (!whole.is_empty()).then_some(whole)
}
