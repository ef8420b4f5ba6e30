//! A reader of Rust source text: the modules of a crate, what they define, what they import.
//!
//! It supports the part of the grammar that the sources of nuwave use: comments, literals and items under `#[cfg(test)]` are skipped, and a
//! path is followed through re-exports to the file that defines its item.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Names of modules from the crate's root on, which itself has none.
type ModulePath = Vec<String>;

/// The content of a file.
#[derive(Default)]
struct Module {
    file: PathBuf,
    defined: BTreeSet<String>,
    /// Names that `use` brings in, with the path each stands for.
    imported: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Paths that the file needs, absolute; re-exports are not among them.
    needed: Vec<Vec<String>>,
}

/// Each file of the crate, relative to its source folder, with the files that it imports from.
pub fn imports(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules = BTreeMap::new();
    read_module(&src.join("lib.rs"), src, Vec::new(), &mut modules);
    let name = |module: &Module| {
        let path = module.file.strip_prefix(src).expect("a file below src");
        path.to_string_lossy().replace('\\', "/")
    };
    modules
        .values()
        .map(|module| {
            let targets = module
                .needed
                .iter()
                .filter_map(|path| defining_file(path, &modules, 0))
                .map(|target| name(&modules[&target]))
                .filter(|target| *target != name(module))
                .collect();
            (name(module), targets)
        })
        .collect()
}

fn read_module(
    file: &Path,
    folder: &Path,
    path: ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) {
    let text =
        std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let tokens = without_tests(&tokens(&text));
    let mut module = Module {
        file: file.to_owned(),
        ..Module::default()
    };
    let mut children = Vec::new();
    scan(&tokens, &path, &mut module, &mut children);
    for child in children {
        let (flat, nested) = (
            folder.join(format!("{child}.rs")),
            folder.join(&child).join("mod.rs"),
        );
        let child_file = if flat.is_file() { flat } else { nested };
        let child_path = [&path[..], std::slice::from_ref(&child)].concat();
        read_module(&child_file, &folder.join(&child), child_path, modules);
    }
    modules.insert(path, module);
}

/// Words, punctuation (`::` as one), and nothing else.
fn tokens(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let (mut tokens, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let rest = &text[i..];
        if rest.starts_with("//") {
            i += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            i += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if let Some(length) = raw_string(rest) {
            i += length;
        } else if bytes[i] == b'"' {
            i += 1;
            while i < bytes.len() && bytes[i] != b'"' {
                i += if bytes[i] == b'\\' { 2 } else { 1 };
            }
            i += 1;
        } else if bytes[i] == b'\'' {
            i += character_or_lifetime(rest);
        } else if bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_' {
            let length = rest
                .find(|it: char| !it.is_ascii_alphanumeric() && it != '_')
                .unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            i += length;
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            i += 2;
        } else {
            let character = rest.chars().next().expect("a character");
            if !character.is_whitespace() {
                tokens.push(character.to_string());
            }
            i += character.len_utf8();
        }
    }
    tokens
}

/// The length of the raw string that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br"].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let after = &text[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = prefix.len() + hashes + 1;
    let length = text[start..].find(&end)?;
    Some(start + length + end.len())
}

/// The length of the character literal that `text` begins with, or of the quote of a lifetime.
fn character_or_lifetime(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |end| end + 4),
        Some((at, character)) if text[at + character.len_utf8()..].starts_with('\'') => {
            at + character.len_utf8() + 1
        }
        _ => 1,
    }
}

/// Leaves out items under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        if tokens[i..].iter().take(7).eq(ATTRIBUTE.iter()) {
            i = end_of_item(tokens, i + 7);
        } else {
            kept.push(tokens[i].clone());
            i += 1;
        }
    }
    kept
}

/// Where the item that begins at `i` ends: after its `;`, or after its outermost braces.
fn end_of_item(tokens: &[String], mut i: usize) -> usize {
    let mut depth = 0;
    let is_use = tokens[i..]
        .iter()
        .take_while(|token| ["pub", "(", ")", "crate", "super", "use"].contains(&token.as_str()))
        .any(|token| token == "use");
    while i < tokens.len() {
        match tokens[i].as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 && !is_use {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
        i += 1;
    }
    i
}

fn scan(tokens: &[String], path: &ModulePath, module: &mut Module, children: &mut Vec<String>) {
    let word = |i: usize| tokens.get(i).map_or("", String::as_str);
    // The depths of braces at which modules inside the file begin.
    let (mut inner, mut depth, mut i) = (Vec::new(), 0_usize, 0);
    while i < tokens.len() {
        match word(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
            }
            "mod" if word(i + 2) == ";" => children.push(word(i + 1).to_owned()),
            "mod" if word(i + 2) == "{" => inner.push(depth),
            "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union"
                if inner.is_empty() =>
            {
                module.defined.insert(word(i + 1).to_owned());
            }
            "macro_rules" => {
                module.defined.insert(word(i + 2).to_owned());
            }
            "use" if word(i + 1) != "<" => {
                let end = i + tokens[i..]
                    .iter()
                    .position(|token| token == ";")
                    .expect("the end of `use`");
                let public = i > 0 && ["pub", ")"].contains(&word(i - 1));
                let mut paths = Vec::new();
                use_paths(&tokens[i + 1..end], &mut Vec::new(), &mut paths);
                for (relative, name) in paths {
                    let Some(target) = absolute(&relative, path, inner.len(), children) else {
                        continue;
                    };
                    if name == "*" {
                        module.globs.push(target.clone());
                    } else if inner.is_empty() {
                        module.imported.insert(name, target.clone());
                    }
                    if !public {
                        module.needed.push(target);
                    }
                }
                i = end;
            }
            "crate" | "super" | "self" if word(i + 1) == "::" && word(i.wrapping_sub(1)) != "(" => {
                let mut relative = vec![word(i).to_owned()];
                while word(i + 1) == "::" && is_name(word(i + 2)) {
                    relative.push(word(i + 2).to_owned());
                    i += 2;
                }
                if let Some(target) = absolute(&relative, path, inner.len(), children) {
                    module.needed.push(target);
                }
            }
            _ => {}
        }
        i += 1;
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
}

/// The paths of a tree of imports, each with the name that it brings in.
fn use_paths(tree: &[String], prefix: &mut Vec<String>, paths: &mut Vec<(Vec<String>, String)>) {
    let before = prefix.len();
    let mut i = 0;
    while i < tree.len() {
        match tree[i].as_str() {
            "::" => i += 1,
            "{" => {
                let mut depth = 0;
                let mut start = i + 1;
                for (j, token) in tree.iter().enumerate().skip(i) {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if (depth == 1 && token == ",") || depth == 0 {
                        use_paths(&tree[start..j], prefix, paths);
                        start = j + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
                prefix.truncate(before);
                return;
            }
            "as" => {
                paths.push((prefix.clone(), tree[i + 1].clone()));
                prefix.truncate(before);
                return;
            }
            "self" if before + i > 0 => i += 1,
            "*" => {
                paths.push((prefix.clone(), "*".to_owned()));
                prefix.truncate(before);
                return;
            }
            name => {
                prefix.push(name.to_owned());
                i += 1;
            }
        }
    }
    if let Some(name) = prefix.last().filter(|_| !tree.is_empty()) {
        paths.push((prefix.clone(), name.clone()));
    }
    prefix.truncate(before);
}

/// The path from the crate's root, where it is one of this crate.
fn absolute(
    relative: &[String],
    module: &ModulePath,
    inner: usize,
    children: &[String],
) -> Option<Vec<String>> {
    let up = relative.iter().take_while(|it| *it == "super").count();
    match relative.first()?.as_str() {
        "crate" => Some(relative[1..].to_vec()),
        // Inside a module of the file, `super` is the file itself.
        "super" => {
            let kept = module.len() - up.saturating_sub(inner);
            Some([&module[..kept], &relative[up..]].concat())
        }
        "self" => Some([&module[..], &relative[1..]].concat()),
        first if children.iter().any(|child| child == first) => {
            Some([&module[..], relative].concat())
        }
        _ => None,
    }
}

/// The module that defines what `path` names, re-exports followed.
fn defining_file(
    path: &[String],
    modules: &BTreeMap<ModulePath, Module>,
    depth: usize,
) -> Option<ModulePath> {
    assert!(depth < 20, "re-exports go round in {path:?}");
    let length = (0..=path.len())
        .rev()
        .find(|&length| modules.contains_key(&path[..length]))?;
    let (found, rest) = path.split_at(length);
    let module = &modules[found];
    let Some(name) = rest.first() else {
        return Some(found.to_vec());
    };
    if module.defined.contains(name) {
        return Some(found.to_vec());
    }
    if let Some(target) = module.imported.get(name) {
        return defining_file(&[&target[..], &rest[1..]].concat(), modules, depth + 1);
    }
    let through_glob = module.globs.iter().find_map(|glob| {
        let target = modules.get(glob)?;
        (target.defined.contains(name) || target.imported.contains_key(name))
            .then(|| defining_file(&[&glob[..], rest].concat(), modules, depth + 1))?
    });
    through_glob.or_else(|| Some(found.to_vec()))
}
