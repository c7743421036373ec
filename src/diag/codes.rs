//! The table of diagnostic codes. Each has a page in `codes/`: a failing program, the reason, the repaired program.
//!
//! Ranges: E01 syntax, E02 names, E03 sizes and shapes, E04 types and values, E05 distributions and sites, E06 guides,
//! E07 inference settings, E08 modules and items, E09 data and files (exit code 3), W0 warnings.

use super::Severity;

macro_rules! codes {
    ($($code:ident $title:literal)*) => {
        /// The code of a diagnostic.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $(#[doc = $title] $code),* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$code),*];
            /// The code as text, for example `E0301`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$code => stringify!($code)),* }
            }
            /// What it is about, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$code => $title),* }
            }
            /// The long story: Markdown, with a wrong and a repaired program.
            pub fn page(self) -> &'static str {
                match self { $(Code::$code => include_str!(concat!("codes/", stringify!($code), ".md"))),* }
            }
        }
    };
}

codes! {
    E0101 "syntax error"
    E0102 "brackets do not match"
    E0103 "malformed string"
    E0104 "number out of range"
    E0105 "nested too deeply"
    E0106 "comparisons cannot be chained"
    E0901 "file not found"
    E0902 "unreadable or damaged file"
    E0903 "wrong shape of data"
    E0904 "wrong element type of data"
    E0905 "value out of range"
    E0906 "missing values"
    E0907 "unknown column or key"
    E0908 "conflicting sizes"
    E0909 "size without a value"
    E0910 "unseen label"
    E0911 "unsupported format"
    E0912 "no rows"
    E0913 "constant column"
    E0914 "data not given"
    E0915 "unknown name in a data expression"
    E0916 "data expression that cannot be evaluated"
    E0917 "nothing learned in training"
}

impl Code {
    /// The code called `name`, in any case.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|c| c.name().eq_ignore_ascii_case(name))
    }
    /// Errors begin with E, warnings with W.
    pub fn severity(self) -> Severity {
        if self.name().starts_with('W') { Severity::Warning } else { Severity::Error }
    }
    /// True for the family that blames data or files rather than the program (exit code 3).
    pub fn is_data(self) -> bool {
        self.name().starts_with("E09")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Diagnostics;
    use crate::source::Sources;
    use crate::syntax::parse_module;

    /// The programs of a page: the texts of its blocks marked `bayes`.
    fn programs(page: &str) -> Vec<String> {
        let blocks = page.split("```bayes\n").skip(1);
        blocks.map(|b| b.split("```").next().expect("split gives at least one part").to_string()).collect()
    }

    #[test]
    fn every_page_has_a_wrong_and_a_repaired_program() {
        for code in Code::ALL {
            let page = code.page();
            let title = format!("# {}: {}\n", code.name(), code.title());
            assert!(page.starts_with(&title), "the page of {code:?} begins with {title:?}");
            assert_eq!(programs(page).len(), 2, "{code:?}");
            assert_eq!(Code::from_name(&code.name().to_lowercase()), Some(*code));
        }
    }

    #[test]
    fn syntax_pages_show_what_they_explain() {
        for code in Code::ALL.iter().filter(|c| c.name().starts_with("E01")) {
            let codes: Vec<Vec<Code>> = programs(code.page())
                .iter()
                .map(|text| {
                    let mut sources = Sources::default();
                    let mut diags = Diagnostics::new();
                    parse_module(sources.add("page.bayes", None, text.as_str()), text, &mut diags);
                    diags.iter().map(|d| d.code).collect()
                })
                .collect();
            assert!(codes[0].iter().all(|c| c == code) && !codes[0].is_empty(), "{code:?}: {:?}", codes[0]);
            assert!(codes[1].is_empty(), "{code:?}: {:?}", codes[1]);
        }
    }
}
