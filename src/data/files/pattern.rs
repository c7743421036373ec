//! Patterns of file names: `dir/*/*.png`.
//!
//! `*` stands for any characters within one name, `?` for one character. Names that begin with a dot are left out unless
//! the pattern has that dot. Files come in the order of their names, compared as bytes, folder by folder.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Whether `text` has characters that stand for others.
fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether the last folder of the pattern `text` is itself one, so that files of several folders may match.
pub fn has_classes(text: &str) -> bool {
    Path::new(text).parent().and_then(|p| p.file_name()).and_then(|n| n.to_str()).is_some_and(is_pattern)
}

/// Whether the name `text` matches `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    if text.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, reached)) => {
                    star = Some((at, reached + 1));
                    (p, t) = (at + 1, reached + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// The names in `folder`, sorted by their bytes; those that are not UTF-8 are left out. None when it cannot be read.
pub fn names(folder: &Path) -> Option<Vec<String>> {
    let entries = fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).ok()?;
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Some(names)
}

/// The files that match `pattern`, which starts from `base`; the characters of `base` stand for themselves.
pub fn files(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![base.to_path_buf()];
    let components: Vec<Component<'_>> = Path::new(pattern).components().collect();
    for (at, component) in components.iter().enumerate() {
        let last = at + 1 == components.len();
        match component {
            Component::Normal(name) if name.to_str().is_some_and(is_pattern) => {
                let pattern = name.to_str().unwrap_or_default();
                let inside = |folder: PathBuf| {
                    let all = names(&folder).unwrap_or_default();
                    let fits = all.into_iter().filter(|name| matches(pattern, name));
                    fits.map(|name| folder.join(name)).collect::<Vec<_>>()
                };
                found = found.into_iter().flat_map(inside).collect();
            }
            // A path from the root replaces `base`, as `join` does it.
            other => found.iter_mut().for_each(|path| path.push(other)),
        }
        if last {
            found.retain(|path| path.is_file());
        } else {
            found.retain(|path| path.as_os_str().is_empty() || path.is_dir());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match() {
        for (pattern, yes, no) in [
            ("*.png", ["a.png", "a.b.png", "ä.png"], ["a.jpg", ".png", "png"]),
            ("a*b*c", ["abc", "axxbxc", "abbcc"], ["ab", "acb", "abcd"]),
            ("?.png", ["1.png", "x.png", "é.png"], [".png", "10.png", "1.pn"]),
            ("*", ["a", "b.c", "x y"], [".a", ".", ".."]),
            (".*", [".a", ".b.c", ".."], ["a", "b", "c.d"]),
        ] {
            assert!(yes.iter().all(|text| matches(pattern, text)), "{pattern}");
            assert!(!no.iter().any(|text| matches(pattern, text)), "{pattern}");
        }
    }

    #[test]
    fn files_come_in_order_folder_by_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().join("st*r");
        for name in ["b/2.png", "b/10.png", "a/x.png", "a/x.txt", "a/.x.png", "c.png/y.png", "d.png", "a/deep/z.png"] {
            let path = base.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, "").expect("writable");
        }
        let found = |pattern: &str| -> Vec<String> {
            let all = files(&base, pattern);
            all.iter().map(|p| p.strip_prefix(&base).expect("below").to_str().expect("text").to_string()).collect()
        };
        assert_eq!(found("*/*.png"), ["a/x.png", "b/10.png", "b/2.png", "c.png/y.png"]);
        assert_eq!(found("*.png"), ["d.png"], "a folder is no file");
        assert_eq!(found("b/../a/*"), ["b/../a/x.png", "b/../a/x.txt"]);
        assert_eq!(found("./?/1*.png"), ["b/10.png"]);
        assert_eq!(found("none/*.png"), [""; 0]);
        let absolute = format!("{}/b/*.png", folder.path().join("st?r").display());
        assert_eq!(files(Path::new("elsewhere"), &absolute).len(), 2);
        assert!(has_classes("x/*/*.png") && has_classes("*/a.png") && !has_classes("x/*.png") && !has_classes("*.png"));
    }
}
