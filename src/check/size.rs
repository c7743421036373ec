//! Symbolic sizes: polynomials over size names, with floor divisions as further atoms.
//!
//! Sizes are nominal. Two sizes agree when their normalized polynomials are equal, or when one of them is a plain number
//! and the other becomes that number once the names that the program fixes (`size K = 2`) are put in. Two different
//! names never agree.

use crate::index_type;
use std::collections::BTreeMap;
use std::fmt::Write as _;

index_type!(
    /// A size name of the program.
    SizeId, "size"
);

/// The largest extent that is accepted anywhere.
pub const MAX_SIZE: i64 = 1 << 40;

/// A factor of a monomial.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Atom {
    /// A size name.
    Name(SizeId),
    /// The floor of a quotient that cannot be simplified.
    FloorDiv(Box<Size>, Box<Size>),
}

/// A polynomial with integer coefficients; monomials are sorted lists of atoms.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Size {
    terms: BTreeMap<Vec<Atom>, i64>,
}

impl From<i64> for Size {
    fn from(value: i64) -> Self {
        let mut terms = BTreeMap::new();
        if value != 0 {
            terms.insert(Vec::new(), value);
        }
        Self { terms }
    }
}
impl From<SizeId> for Size {
    fn from(id: SizeId) -> Self {
        Self { terms: BTreeMap::from([(vec![Atom::Name(id)], 1)]) }
    }
}

impl Size {
    /// The number, if no name is left.
    pub fn as_number(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).copied(),
            _ => None,
        }
    }
    /// True for the literal 1, which stretches in broadcasting.
    pub fn is_one(&self) -> bool {
        self.as_number() == Some(1)
    }
    /// The name, if this is nothing but a name.
    pub fn as_name(&self) -> Option<SizeId> {
        let (atoms, &coefficient) = self.terms.iter().next()?;
        match (self.terms.len(), atoms.as_slice(), coefficient) {
            (1, [Atom::Name(id)], 1) => Some(*id),
            _ => None,
        }
    }
    fn combine(&self, other: &Size, sign: i64) -> Option<Size> {
        let mut terms = self.terms.clone();
        for (atoms, &c) in &other.terms {
            let entry = terms.entry(atoms.clone()).or_insert(0);
            *entry = entry.checked_add(c.checked_mul(sign)?)?;
            if *entry == 0 {
                terms.remove(atoms);
            }
        }
        Some(Size { terms })
    }
    /// `self + other`; `None` on overflow.
    pub fn add(&self, other: &Size) -> Option<Size> {
        self.combine(other, 1)
    }
    /// `self - other`; `None` on overflow.
    pub fn sub(&self, other: &Size) -> Option<Size> {
        self.combine(other, -1)
    }
    /// `self * other`; `None` on overflow.
    pub fn mul(&self, other: &Size) -> Option<Size> {
        let mut terms: BTreeMap<Vec<Atom>, i64> = BTreeMap::new();
        for (a, &ca) in &self.terms {
            for (b, &cb) in &other.terms {
                let mut atoms: Vec<Atom> = a.iter().chain(b).cloned().collect();
                atoms.sort();
                let entry = terms.entry(atoms).or_insert(0);
                *entry = entry.checked_add(ca.checked_mul(cb)?)?;
            }
        }
        terms.retain(|_, c| *c != 0);
        Some(Size { terms })
    }
    /// `floor(self / other)`: exact where every coefficient divides, otherwise the divisible part and an atom for the
    /// rest; `None` for a division by zero.
    pub fn floor_div(&self, other: &Size) -> Option<Size> {
        if other.as_number() == Some(0) {
            return None;
        }
        if let (Some(a), Some(b)) = (self.as_number(), other.as_number()) {
            return Some(a.div_euclid(b).into());
        }
        if self == other {
            return Some(1.into());
        }
        if let Some(d) = other.as_number().filter(|&d| d > 0) {
            let (mut whole, mut rest) = (Size::default(), Size::default());
            for (atoms, &c) in &self.terms {
                let target = if c % d == 0 { &mut whole } else { &mut rest };
                let c = if c % d == 0 { c / d } else { c };
                target.terms.insert(atoms.clone(), c);
            }
            if let Some(n) = rest.as_number() {
                return whole.add(&n.div_euclid(d).into());
            }
            let atom = Atom::FloorDiv(Box::new(rest), Box::new(other.clone()));
            return whole.add(&Size { terms: BTreeMap::from([(vec![atom], 1)]) });
        }
        let atom = Atom::FloorDiv(Box::new(self.clone()), Box::new(other.clone()));
        Some(Size { terms: BTreeMap::from([(vec![atom], 1)]) })
    }
    /// The same with every name replaced by what `value` says, or kept where it says nothing; `None` on overflow.
    pub fn substitute(&self, value: &dyn Fn(SizeId) -> Option<Size>) -> Option<Size> {
        let mut sum = Size::default();
        for (atoms, &c) in &self.terms {
            let mut product: Size = c.into();
            for atom in atoms {
                let factor = match atom {
                    Atom::Name(id) => value(*id).unwrap_or_else(|| (*id).into()),
                    Atom::FloorDiv(a, b) => a.substitute(value)?.floor_div(&b.substitute(value)?)?,
                };
                product = product.mul(&factor)?;
            }
            sum = sum.add(&product)?;
        }
        Some(sum)
    }
    /// Its number when names have the values that `value` gives; `None` when one is unknown or it overflows.
    pub fn evaluate(&self, value: &dyn Fn(SizeId) -> Option<usize>) -> Option<i64> {
        self.substitute(&|id| value(id).map(|v| (v as i64).into()))?.as_number()
    }
    /// All names that occur.
    pub fn names(&self) -> Vec<SizeId> {
        let mut names = Vec::new();
        for atoms in self.terms.keys() {
            for atom in atoms {
                match atom {
                    Atom::Name(id) => names.push(*id),
                    Atom::FloorDiv(a, b) => {
                        names.extend(a.names());
                        names.extend(b.names());
                    }
                }
            }
        }
        names.sort();
        names.dedup();
        names
    }
    /// True when `id` occurs.
    pub fn mentions(&self, id: SizeId) -> bool {
        self.names().contains(&id)
    }
    /// As the user would write it: `2 * F`, `T - 1`.
    pub fn display(&self, name: &dyn Fn(SizeId) -> String) -> String {
        if self.terms.is_empty() {
            return "0".into();
        }
        let mut out = String::new();
        // Names first, the constant last: `T - 1` rather than `-1 + T`.
        let ordered =
            self.terms.iter().filter(|(a, _)| !a.is_empty()).chain(self.terms.iter().filter(|(a, _)| a.is_empty()));
        for (i, (atoms, &c)) in ordered.enumerate() {
            let magnitude = c.unsigned_abs();
            if i == 0 && c < 0 {
                out.push('-');
            } else if i > 0 {
                out.push_str(if c < 0 { " - " } else { " + " });
            }
            let mut parts = Vec::new();
            if magnitude != 1 || atoms.is_empty() {
                parts.push(magnitude.to_string());
            }
            for atom in atoms {
                parts.push(match atom {
                    Atom::Name(id) => name(*id),
                    Atom::FloorDiv(a, b) => {
                        let mut text = String::new();
                        let wrap = |s: &Size| {
                            let t = s.display(name);
                            if s.terms.len() > 1 || t.contains(' ') { format!("({t})") } else { t }
                        };
                        let _ = write!(text, "{} / {}", wrap(a), wrap(b));
                        if atoms.len() > 1 || magnitude != 1 { format!("({text})") } else { text }
                    }
                });
            }
            out.push_str(&parts.join(" * "));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Idx;

    fn names(id: SizeId) -> String {
        ["N", "K", "F"][id.index()].to_string()
    }

    #[test]
    fn polynomials_are_normal_forms() {
        let f: Size = SizeId::new(2).into();
        let n: Size = SizeId::new(0).into();
        assert_eq!(f.add(&f), Size::from(2).mul(&f));
        let shifted = n.add(&1.into()).unwrap().sub(&2.into()).unwrap();
        assert_eq!(shifted, n.sub(&1.into()).unwrap());
        assert_eq!(shifted.display(&names), "N - 1");
        assert_eq!(f.mul(&2.into()).unwrap().mul(&n).unwrap().display(&names), "2 * N * F");
    }

    #[test]
    fn floor_division_simplifies_what_divides() {
        let n: Size = SizeId::new(0).into();
        let even = n.mul(&4.into()).unwrap().add(&5.into()).unwrap();
        assert_eq!(even.floor_div(&2.into()).unwrap().display(&names), "2 * N + 2");
        let odd = n.add(&1.into()).unwrap().floor_div(&2.into()).unwrap();
        assert_eq!(odd.display(&names), "(N + 1) / 2");
        assert_eq!(odd.evaluate(&|_| Some(8)), Some(4));
        assert_eq!(n.floor_div(&0.into()), None);
    }
}
