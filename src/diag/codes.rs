//! The table of diagnostic codes. Each has a page in `codes/`: a failing program, the reason, the repaired program.
//!
//! Ranges: E01 syntax, E02 names, E03 sizes and shapes, E04 types and values, E05 distributions and sites, E06 guides,
//! E07 inference settings, E08 modules and items, E09 data and files (exit code 3), E10 runs (exit code 4),
//! W0 warnings.

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
    E0201 "a name that nothing defines"
    E0202 "a function that nothing defines"
    E0203 "a distribution that nothing defines"
    E0204 "a name defined twice"
    E0205 "a name used as something that it is not"
    E0206 "a function that calls itself"
    E0208 "an argument that a function does not take"
    E0209 "an argument that is missing"
    E0210 "too many arguments"
    E0301 "shapes that do not go together"
    E0302 "a matrix product whose inner sizes differ"
    E0303 "a reshape that changes the number of elements"
    E0304 "a window that does not fit"
    E0305 "channels or features that do not fit"
    E0306 "the wrong number of dimensions"
    E0307 "a shape that is not the declared one"
    E0308 "not a size"
    E0309 "an index that cannot be"
    E0310 "a reduction over an unclear dimension"
    E0401 "the wrong kind of element"
    E0402 "not known at compile time"
    E0403 "an expression that cannot stand here"
    E0404 "not supported yet"
    E0405 "a statement that cannot stand here"
    E0406 "not a value of this option"
    E0407 "a function that returns nothing"
    E0408 "a loop that cannot be"
    E0501 "arguments that a distribution does not take"
    E0502 "a parameter outside its range"
    E0503 "a site whose shape is not that of its distribution"
    E0504 "a site or datum with two distributions"
    E0505 "a discrete latent that cannot be summed out"
    E0506 "data that the distribution cannot give"
    E0507 "nothing that a distribution can stand for"
    E0508 "an element that is not written exactly once"
    E0510 "a distribution that a wrapper cannot take"
    E0511 "a function that cannot be inverted"
    E0601 "a guide that leaves out a site"
    E0602 "a guide that covers a site twice"
    E0603 "not a site of the model"
    E0604 "a guide whose support is not that of the prior"
    E0605 "a family that nothing defines"
    E0606 "a hole outside a guide"
    E0701 "a setting that the algorithm does not have"
    E0702 "a setting with a wrong value"
    E0703 "settings that contradict each other"
    E0704 "an operation that mixes the rows of a minibatch"
    E0705 "a minibatch over something that has no rows"
    E0707 "an algorithm that nothing defines"
    E0801 "a module that cannot be found"
    E0802 "modules that use each other in a circle"
    E0803 "several models and no choice"
    E0804 "a file without a model"
    E0805 "an evaluate block that does not fit the model"
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
    E0918 "not the data of the fit"
    E1001 "a number that is not finite"
    E1002 "a model that cannot be fitted like this"
    E1003 "a run that needs more memory than it may use"
    E1004 "a density without a peak"
    W0001 "a word without effect"
    W0002 "a name that means two things"
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
    /// True for the family that tells of a run that failed (exit code 4): the program checks and binds.
    pub fn is_run(self) -> bool {
        self.name().starts_with("E10")
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

    #[test]
    fn pages_of_the_checker_show_what_they_explain() {
        let check = |text: &str| -> Vec<Code> {
            // A file that uses itself is a circle; no other file exists.
            let mut loader = |wanted: &str, _: Option<&std::path::Path>| match wanted {
                "page.bayes" => Ok((wanted.to_string(), wanted.into(), text.to_string())),
                _ => Err("no such file".to_string()),
            };
            let path = Some("page.bayes".into());
            let result = crate::driver::compile("page.bayes", path, text, &Default::default(), &mut loader);
            result.diags.iter().map(|d| d.code).collect()
        };
        for code in Code::ALL.iter().filter(|c| !c.name().starts_with("E01") && !c.is_data() && !c.is_run()) {
            let [wrong, repaired] = &programs(code.page())[..] else { panic!("{code:?} has two programs") };
            let given = check(wrong);
            assert!(!given.is_empty() && given.iter().all(|c| c == code), "{code:?}: {given:?}");
            let left = check(repaired);
            assert!(left.is_empty(), "{code:?}, repaired: {left:?}");
        }
    }

    #[test]
    fn pages_of_runs_fail_and_succeed() {
        for code in Code::ALL.iter().filter(|c| c.is_run()) {
            let outcome = |text: &str| -> Result<(), Code> {
                let compilation = crate::driver::compile_text(text, &Default::default());
                assert!(compilation.diags.is_empty(), "{code:?}: {:?}", compilation.diags);
                let bound = crate::session::bind(&compilation, &mut crate::data::Files::new(), &[]).expect("data fit");
                let max_memory = (*code == Code::E1003).then_some(4 << 20);
                let options = crate::session::RunOptions { max_memory, ..Default::default() };
                let fit = crate::session::run(&bound, &options, &mut crate::session::Unobserved);
                match fit {
                    Ok(_) => Ok(()),
                    Err(crate::session::Failure::Run(error)) => Err(error.diagnostic().code),
                    Err(other) => panic!("{code:?}: {other:?}"),
                }
            };
            let [wrong, repaired] = &programs(code.page())[..] else { panic!("{code:?} has two programs") };
            assert_eq!(outcome(wrong), Err(*code));
            assert_eq!(outcome(repaired), Ok(()), "{code:?}");
        }
    }
}
