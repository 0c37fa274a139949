//! Finds circles in a graph of files that import each other.

use std::collections::{BTreeMap, BTreeSet};

/// The files that each file imports.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// One circle for each file that closes one, as `a -> b -> a`. Empty for a graph without circles.
pub fn circles(graph: &Graph) -> Vec<String> {
    let mut search = Search {
        graph,
        path: vec![],
        done: BTreeSet::new(),
        found: vec![],
    };
    for file in graph.keys() {
        search.visit(file);
    }
    search.found
}

/// Depth-first search. `path` leads from its start to the present file.
struct Search<'a> {
    graph: &'a Graph,
    path: Vec<&'a str>,
    done: BTreeSet<&'a str>,
    found: Vec<String>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, file: &'a str) {
        if let Some(at) = self.path.iter().position(|passed| *passed == file) {
            self.found
                .push(format!("{} -> {file}", self.path[at..].join(" -> ")));
            return;
        }
        if self.done.contains(file) {
            return;
        }
        self.path.push(file);
        for next in self.graph.get(file).into_iter().flatten() {
            self.visit(next);
        }
        self.path.pop();
        self.done.insert(file);
    }
}
