//! Puts sections into the document that quotes them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Puts `text` between `<!-- compare NAME -->` and the next `<!-- end -->` of the file, or prints it.
pub(crate) fn write(file: Option<&Path>, name: &str, text: &str) -> Result<()> {
    let Some(file) = file else {
        println!("{text}");
        return Ok(());
    };
    let about = || format!("section `{name}` of {}", file.display());
    let before = fs::read_to_string(file).with_context(about)?;
    fs::write(file, replace(&before, name, text).with_context(about)?).with_context(about)
}

fn replace(document: &str, name: &str, text: &str) -> Option<String> {
    let mark = format!("<!-- compare {name} -->\n");
    let begin = document.find(&mark)? + mark.len();
    let end = begin + document[begin..].find("<!-- end -->")?;
    Some(format!("{}\n{}\n\n{}", &document[..begin], text.trim(), &document[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = "a\n<!-- compare cpu -->\nold\n<!-- end -->\nb\n<!-- compare many -->\n<!-- end -->\n";
        let expected = "a\n<!-- compare cpu -->\n\nnew\n\n<!-- end -->\nb\n<!-- compare many -->\n<!-- end -->\n";
        assert_eq!(replace(document, "cpu", "new\n").unwrap(), expected);
        assert_eq!(replace(expected, "cpu", "new").unwrap(), expected);
        assert!(replace(document, "latency", "new").is_none());
    }
}
