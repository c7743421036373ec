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
