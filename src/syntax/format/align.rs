//! Columns: `=` and `~` of neighbouring lines, and the comments behind them.
//!
//! Neighbours are lines without an empty line or a comment between them. Data, settings, guided sites and one-line
//! `infer` blocks always stand in line. For all other statements the author decides: lines whose sign stands in one
//! column, with blanks in front of it somewhere, are in line and stay so.

/// Which lines go with which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `data x: T = …`
    Data,
    /// `steps = 100`
    Setting,
    /// `infer svi { … }` on one line: the brace.
    Infer,
    /// `z ~ …` in a guide.
    Guided,
    /// Statements, sizes and constants.
    Free,
}

/// A line with a sign that may be moved to the right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub kind: Kind,
    /// The columns of what stands before the sign.
    pub width: usize,
    /// The blanks before the sign in the source; at least 1.
    pub blanks: usize,
}

/// The blanks before the sign of each line of a run of neighbours; 1 for lines without a sign.
pub(super) fn blanks(cells: &[Option<Cell>]) -> Vec<usize> {
    let mut out = vec![1; cells.len()];
    let mut start = 0;
    while start < cells.len() {
        let Some(first) = cells[start] else {
            start += 1;
            continue;
        };
        let run: Vec<Cell> = cells[start..].iter().map_while(|c| c.filter(|c| c.kind == first.kind)).collect();
        let columns = if first.kind == Kind::Free {
            free(&run)
        } else {
            let widest = run.iter().map(|c| c.width).max().unwrap_or(0);
            vec![widest + 1; run.len()]
        };
        for (i, (cell, column)) in run.iter().zip(columns).enumerate() {
            out[start + i] = column - cell.width;
        }
        start += run.len();
    }
    out
}

/// The columns of lines that the author may have put in line.
fn free(run: &[Cell]) -> Vec<usize> {
    let mut columns: Vec<usize> = run.iter().map(|c| c.width + c.blanks).collect();
    // Runs that were moved may meet others, so that a second look is needed for the result to be final.
    for _ in 0..run.len() + 1 {
        let next = in_line(run, &columns);
        if next == columns {
            break;
        }
        columns = next;
    }
    columns
}

fn in_line(run: &[Cell], columns: &[usize]) -> Vec<usize> {
    let natural: Vec<usize> = run.iter().map(|c| c.width + 1).collect();
    let mut out = natural.clone();
    let mut start = 0;
    while start < run.len() {
        // The last line that stands in the column of the first; single lines between may be too long for it.
        let mut last = start;
        let mut at = start + 1;
        while at < run.len() && at <= last + 2 {
            if columns[at] == columns[start] {
                last = at;
            } else if columns[at] != natural[at] || columns[at] < columns[start] {
                break;
            }
            at += 1;
        }
        if last > start && (start..=last).any(|i| columns[i] > natural[i]) {
            let widest = natural[start..=last].iter().max().copied().unwrap_or(0);
            out[start..=last].fill(widest);
            start = last + 1;
        } else {
            start += 1;
        }
    }
    out
}

/// A comment behind a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    /// The columns of the line it stands behind.
    pub end: usize,
    /// Its column in the source, moved with the line; `None` where the line has become another.
    pub column: Option<usize>,
}

/// The columns of the comments of neighbours: where the author put them if they are in line and have room.
pub(super) fn comment_column(run: &[Behind]) -> usize {
    let nearest = run.iter().map(|b| b.end).max().unwrap_or(0) + 2;
    match run[0].column {
        Some(column) if column >= nearest && run.iter().all(|b| b.column == Some(column)) => column,
        _ => nearest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[(usize, usize)], expect: &[usize]) {
        let cells: Vec<Option<Cell>> =
            lines.iter().map(|&(width, blanks)| Some(Cell { kind: Kind::Free, width, blanks })).collect();
        let got = blanks(&cells);
        assert_eq!(got, expect, "{lines:?}");
        let again: Vec<Option<Cell>> =
            cells.iter().zip(&got).map(|(c, &blanks)| c.map(|c| Cell { blanks, ..c })).collect();
        assert_eq!(blanks(&again), expect, "a second time: {lines:?}");
    }

    #[test]
    fn lines_that_stand_in_line_stay_so() {
        check(&[(3, 1), (5, 1), (2, 1)], &[1, 1, 1]);
        check(&[(5, 1), (4, 2), (6, 1), (9, 1)], &[1, 2, 1, 1]);
        check(&[(5, 4), (4, 5)], &[1, 2]);
        check(&[(4, 3)], &[1]);
        // One line that is too long does not part the others, two do.
        check(&[(5, 2), (4, 3), (7, 1), (6, 1)], &[3, 4, 1, 2]);
        check(&[(5, 2), (4, 3), (7, 1), (8, 1), (6, 1)], &[1, 2, 1, 1, 1]);
    }

    #[test]
    fn comments_stay_where_they_are_in_line() {
        let of = |ends: &[(usize, usize)]| {
            let run: Vec<Behind> = ends.iter().map(|&(end, c)| Behind { end, column: Some(c) }).collect();
            comment_column(&run)
        };
        assert_eq!(of(&[(10, 20), (14, 20)]), 20);
        assert_eq!(of(&[(10, 12), (14, 16)]), 16);
        assert_eq!(of(&[(10, 11)]), 12);
    }
}
