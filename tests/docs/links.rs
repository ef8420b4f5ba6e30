//! Links of all pages lead to files that exist, and to headings that these have.

use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::{pages, read, root};

/// Returns the targets of the links and pictures of a page.
fn targets(text: &str) -> Vec<String> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.into_string())
            }
            _ => None,
        })
        .collect()
}

/// Returns the anchors of the headings of a page.
fn anchors(text: &str) -> Vec<String> {
    let (mut anchors, mut heading) = (Vec::new(), None);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                anchors.extend(heading.take().map(|title| anchor(&title)));
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(title) = &mut heading {
                    title.push_str(&text);
                }
            }
            _ => (),
        }
    }
    anchors
}

/// Returns the anchor that MkDocs makes of a title.
fn anchor(title: &str) -> String {
    let kept: String = title
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || " -_".contains(*letter))
        .collect();
    let words: Vec<&str> = kept
        .split([' ', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-")
}

/// Returns what is wrong with a link in the page `from`.
fn fault(from: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        from.to_owned()
    } else {
        from.parent().unwrap_or(root()).join(file)
    };
    if !path.exists() {
        return Some(format!("{}: `{target}` does not exist", from.display()));
    }
    let is_page = path.extension().is_some_and(|ending| ending == "md");
    if !fragment.is_empty() && is_page && !anchors(&read(&path)).iter().any(|it| it == fragment) {
        return Some(format!(
            "{}: `{target}`: the page has no such heading",
            from.display()
        ));
    }
    None
}

#[test]
fn every_link_leads_somewhere() {
    let (mut count, mut faults) = (0, Vec::new());
    for page in pages() {
        for target in targets(&read(&page)) {
            count += 1;
            faults.extend(fault(&page, &target));
        }
    }
    assert!(count > 100, "only {count} links were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = root().join("docs/output.md");
    let found = |text: &str| -> Vec<String> {
        targets(text)
            .iter()
            .filter_map(|target| fault(&page, target))
            .collect()
    };
    assert!(
        found("[a](output.md#exit-codes) ![b](images/waveforms.svg) [c](https://x.y)").is_empty()
    );
    assert_eq!(
        found("[a](none.md) ![b](images/none.svg) [c](output.md#none)").len(),
        3
    );
}

#[test]
fn every_page_of_the_book_is_in_its_navigation() {
    let navigation = read(&root().join("mkdocs.yml"));
    let docs = root().join("docs");
    for page in pages()
        .iter()
        .filter_map(|page| page.strip_prefix(&docs).ok())
    {
        let name = page.to_string_lossy();
        assert!(
            navigation
                .lines()
                .any(|line| line.ends_with(&format!(" {name}"))),
            "mkdocs.yml has no entry for {name}"
        );
    }
}
