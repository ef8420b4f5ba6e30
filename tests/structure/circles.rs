//! Circles in a graph of files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The groups of files that import each other in a circle. A parent module and its child, as a folder's `mod.rs` and a file in it, may do so.
pub fn circles(imports: &Graph) -> Vec<BTreeSet<String>> {
    let graph: Graph = imports
        .iter()
        .map(|(file, targets)| {
            let others = targets
                .iter()
                .filter(|target| !is_parent(file, target) && !is_parent(target, file));
            (file.clone(), others.cloned().collect())
        })
        .collect();
    let reached: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|file| (file, reachable(&graph, file)))
        .collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for file in graph.keys() {
        if circles.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let circle: BTreeSet<String> = reached[file]
            .iter()
            .filter(|other| reached[*other].contains(file))
            .map(|other| (*other).clone())
            .collect();
        if circle.len() > 1 {
            circles.push(circle);
        }
    }
    circles
}

/// True if the module of `file` is declared in `other`.
fn is_parent(other: &str, file: &str) -> bool {
    let module = module_of(file);
    let parent = match module.rsplit_once('/') {
        Some((folder, _)) => folder,
        None => "lib",
    };
    module != "lib" && module_of(other) == parent
}

/// The path of a file's module, with slashes.
fn module_of(file: &str) -> &str {
    file.strip_suffix("/mod.rs")
        .or_else(|| file.strip_suffix(".rs"))
        .unwrap_or(file)
}

fn reachable<'a>(graph: &'a Graph, from: &String) -> BTreeSet<&'a String> {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(file) = left.pop() {
        for target in &graph[file] {
            if seen.insert(target) {
                left.push(target);
            }
        }
    }
    seen
}

/// The files of a circle, one per line, each with those it imports.
pub fn describe(imports: &Graph, circle: &BTreeSet<String>) -> String {
    let mut text = format!("{} files import each other:\n", circle.len());
    for file in circle {
        let targets: Vec<&str> = imports[file]
            .intersection(circle)
            .map(String::as_str)
            .collect();
        let _ = writeln!(text, "    {file} -> {}", targets.join(", "));
    }
    text
}
