//! Which of several words a misspelled one was meant to be.

/// The candidate that takes the fewest edits to reach, where those are few enough for a slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(2);
    let distances = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbors that turn `from` into `to`.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let above = &rows[i - 1];
            let replaced = above[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, edits) in [
            ("", "", 0),
            ("a", "", 1),
            ("cores", "core", 1),
            ("soc", "sco", 1),
            ("khz", "mhz", 1),
            ("ab", "cd", 2),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
            assert_eq!(distance(to, from), edits, "{to} {from}");
        }
    }

    #[test]
    fn a_slip_has_a_neighbor_and_another_word_has_none() {
        assert_eq!(nearest("frequency_khz", ["governor", "frequency_mhz"]), Some("frequency_mhz"));
        assert_eq!(nearest("rk3558", ["rk3588", "rk3568", "host"]), Some("rk3568"));
        assert_eq!(nearest("toaster", ["host", "rpi5"]), None);
    }
}
