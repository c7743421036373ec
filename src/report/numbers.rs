//! Numbers and text as people read them in a terminal: sensible digits, decimal points in line, widths in columns.

use ratatui_core::text::Span;

/// The width of `text` in terminal columns.
pub fn display_width(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text`, cut to `width` columns with `…` (or `~` in ASCII) where it is longer.
pub fn truncate(text: &str, width: usize, ascii: bool) -> String {
    if display_width(text) <= width {
        return text.to_string();
    }
    if width == 0 {
        return String::new();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if display_width(&kept) >= width {
            kept.pop();
            break;
        }
    }
    kept.push(if ascii { '~' } else { '…' });
    kept
}

/// `text` in `width` columns, to the left.
pub fn pad_right(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(display_width(text))))
}

/// `text` in `width` columns, to the right.
pub fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(display_width(text))))
}

/// `text` in lines of at most `width` columns where its words allow; one empty line for an empty text.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && display_width(line) + 1 + display_width(word) > width {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// The decimals that show `digits` significant digits of `x`, from 0 to 6; 0 for what is 0 or not finite.
pub fn decimals_for(x: f64, digits: i32) -> usize {
    if x == 0.0 || !x.is_finite() {
        return 0;
    }
    (digits - 1 - magnitude(x, digits)).clamp(0, 6) as usize
}

/// The power of ten of the first digit of `x` after rounding to `digits` digits.
fn magnitude(x: f64, digits: i32) -> i32 {
    let text = format!("{:.*e}", (digits - 1).max(0) as usize, x.abs());
    text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

/// `x` with this many decimals; as `1.2e-9` or `3.4e12` where that would show no digit or too many; `nan`, `inf`.
pub fn fixed(x: f64, decimals: usize) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if x != 0.0 && (x.abs() >= 1e8 || (decimals == 6 && x.abs() < 1e-4)) {
        return format!("{x:.1e}");
    }
    let text = format!("{x:.decimals$}");
    // A rounded nothing has no sign.
    if text.starts_with('-') && text.chars().all(|c| matches!(c, '-' | '0' | '.')) {
        text[1..].to_string()
    } else {
        text
    }
}

/// `x` with `digits` significant digits, whole numbers without decimals.
pub fn significant(x: f64, digits: i32) -> String {
    if x.is_finite() && x == x.trunc() && x.abs() < 1e8 { fixed(x, 0) } else { fixed(x, decimals_for(x, digits)) }
}

/// The same cells, all of one width, with their decimal points in line.
pub fn align_decimals(cells: &[String]) -> Vec<String> {
    let split = |cell: &str| -> (usize, usize) {
        let whole = cell.find(['.', 'e']).unwrap_or(cell.len());
        (whole, cell.len() - whole)
    };
    let before = cells.iter().map(|c| split(c).0).max().unwrap_or(0);
    let after = cells.iter().map(|c| split(c).1).max().unwrap_or(0);
    cells
        .iter()
        .map(|cell| {
            let (whole, rest) = split(cell);
            format!("{}{cell}{}", " ".repeat(before - whole), " ".repeat(after - rest))
        })
        .collect()
}

/// A duration in seconds as `12 ms`, `3.1 s`, `4 min 05 s`, `2 h 03 min`.
pub fn duration(secs: f64) -> String {
    if !secs.is_finite() || secs < 0.0 {
        return "?".into();
    }
    let whole = secs.round() as u64;
    match secs {
        s if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_the_significant_digits() {
        let check = |x, digits, expect: &str| assert_eq!(fixed(x, decimals_for(x, digits)), expect);
        check(3.3141, 2, "3.3");
        check(0.031_41, 2, "0.031");
        check(0.0999, 2, "0.10");
        check(9.96, 2, "10");
        check(1234.5, 2, "1234");
        check(-0.5, 3, "-0.500");
        check(1.5e-9, 2, "1.5e-9");
        check(2.5e12, 2, "2.5e12");
        assert_eq!(fixed(-0.001, 1), "0.0");
        assert_eq!(fixed(f64::NAN, 3), "nan");
        assert_eq!(significant(360.0, 3), "360");
        assert_eq!(significant(0.972_25, 4), "0.9722");
    }

    #[test]
    fn decimal_points_stand_in_line() {
        let cells = ["-1.5", "12", "0.031", "nan", ""].map(String::from);
        assert_eq!(align_decimals(&cells), [" -1.5  ", " 12    ", "  0.031", "nan    ", "       "].map(String::from));
    }

    #[test]
    fn text_is_cut_by_columns() {
        assert_eq!(truncate("theta[Ångström]", 9, false), "theta[Ån…");
        assert_eq!(truncate("short", 5, false), "short");
        assert_eq!(truncate("漢字漢字", 5, true), "漢字~");
        assert_eq!(truncate("abc", 0, false), "");
        assert_eq!((pad_left("漢", 4), pad_right("漢", 4)), ("  漢".to_string(), "漢  ".to_string()));
    }

    #[test]
    fn durations_read_well() {
        let texts = [0.0042, 3.1, 59.96, 245.0, 7380.0].map(duration);
        assert_eq!(texts, ["4 ms", "3.1 s", "1 min 00 s", "4 min 05 s", "2 h 03 min"]);
    }
}
