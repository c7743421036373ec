//! Images of a kind that a network has not seen: what its predictions say of how much it knows.

use crate::common::*;
use bayesc::data::{DataArgument, Files};
use bayesc::infer::predict::{Part, Said};
use bayesc::report::fit::Fit;
use bayesc::report::predictions::Shown;
use bayesc::session::{self, Output, PredictOptions, RunOptions};
use std::ops::ControlFlow;

/// Keeps the mutual information of every row.
#[derive(Default)]
struct Kept {
    entropy: Vec<f64>,
    mutual_information: Vec<f64>,
}
impl Output for Kept {
    fn begin(&mut self, _: &[Shown], _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn part(&mut self, _: &Shown, part: &Part<'_>) -> ControlFlow<()> {
        let Said::Classes(rows) = part.said else { panic!("labels are classes") };
        self.entropy.extend(rows.entropy);
        self.mutual_information.extend(rows.mutual_information);
        ControlFlow::Continue(())
    }
}

/// The rows of a file of images, and their mean mutual information as the table has it.
fn predicted(fit: &Fit, file: &str) -> (Kept, f64) {
    let compilation = session::recompile(fit).expect("its program is accepted");
    let restored = session::restore(&compilation, fit).expect("its sizes are there");
    let place = examples().join("data/digits_ood").join(file).display().to_string();
    let argument = DataArgument::One { name: "images".to_string(), place };
    let new = session::bind_new(&restored, &mut Files::new(), &[argument], false).expect("the data fit");
    let mut kept = Kept::default();
    let options = PredictOptions { draws: Some(50), keep: 0 };
    let all = session::predict(&restored, fit, &new, options, &mut kept).expect("nothing is missing");
    assert!(all.whole[0].scores.is_none(), "there are no labels");
    let told = all.whole[0].uncertainty.as_ref().and_then(|m| m.get("mutual_information")).expect("of classes");
    (kept, told)
}

/// The probability that one of `unknown` is larger than one of `known`.
fn auroc(known: &[f64], unknown: &[f64]) -> f64 {
    let larger = |a: f64, b: f64| {
        if a > b {
            1.0
        } else if a == b {
            0.5
        } else {
            0.0
        }
    };
    let sum: f64 = unknown.iter().map(|&a| known.iter().map(|&b| larger(a, b)).sum::<f64>()).sum();
    sum / (known.len() * unknown.len()) as f64
}

#[test]
fn a_network_knows_what_it_has_not_seen() {
    // Half the filters and a third of the epochs of the example.
    let c = example("digits_unseen.bayes", |t| {
        let narrow = t.replace("images, 16,", "images, 8,").replace("(2), 32,", "(2), 16,");
        narrow.replace("epochs      = 40", "epochs = 12\n  draws = 100").replace("adam(5e-3)", "adam(1e-2)")
    });
    let fit = fit_with(&c, &RunOptions::default());
    let score = |name: &str| fit.evaluation[0].1.get(name).expect("a score");
    assert!(score("accuracy") > 0.9, "accuracy {}", score("accuracy"));
    let (known, mean) = predicted(&fit, "known-images.idx");
    assert_close(mean, known.mutual_information.iter().sum::<f64>() / 290.0, 1e-9, "the mean of the rows");
    // The whole example has 0.97, 0.81 and 0.99.
    for (file, at_least) in [("unseen-images.idx", 0.8), ("rotated-images.idx", 0.6), ("noise-images.idx", 0.85)] {
        let (rows, told) = predicted(&fit, file);
        assert!(told > 1.2 * mean, "{file}: mutual information {told}, of known digits {mean}");
        for (what, a, b) in [
            ("entropy", &known.entropy, &rows.entropy),
            ("mutual information", &known.mutual_information, &rows.mutual_information),
        ] {
            let found = auroc(a, b);
            assert!(found > at_least, "{file}: AUROC by {what} is {found}");
        }
    }
}
