//! Pairs rows with columns so that their gains together are greatest: the Hungarian method with potentials, in buffers
//! that are kept. Pairs that gain nothing stay apart.

/// Buffers of the method, whose columns are counted from 1: column 0 stands for the row that looks for a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Assignment {
    /// Gains, row by row, of the side with fewer members.
    gains: Vec<f32>,
    row_potentials: Vec<f32>,
    column_potentials: Vec<f32>,
    /// The row, counted from 1, that holds each column; 0 for none.
    holders: Vec<usize>,
    /// The column before each on the cheapest way found.
    previous: Vec<usize>,
    /// Cost of the cheapest way to each column.
    distances: Vec<f32>,
    is_visited: Vec<bool>,
    pairs: Vec<(usize, usize)>,
}

impl Assignment {
    /// Row and column of each pair, at most one pair a row and a column, in no order.
    pub(super) fn best(
        &mut self,
        rows: usize,
        columns: usize,
        gain: impl Fn(usize, usize) -> f32,
    ) -> &[(usize, usize)] {
        self.pairs.clear();
        // The method gives each row a column, so there may not be fewer columns.
        if rows <= columns {
            self.solve(rows, columns, gain);
        } else {
            self.solve(columns, rows, |row, column| gain(column, row));
            for pair in &mut self.pairs {
                *pair = (pair.1, pair.0);
            }
        }
        &self.pairs
    }

    fn solve(&mut self, rows: usize, columns: usize, gain: impl Fn(usize, usize) -> f32) {
        self.gains.clear();
        for row in 0..rows {
            self.gains.extend((0..columns).map(|column| gain(row, column).max(0.0)));
        }
        refill(&mut self.row_potentials, rows + 1, 0.0);
        refill(&mut self.column_potentials, columns + 1, 0.0);
        refill(&mut self.holders, columns + 1, 0);
        refill(&mut self.previous, columns + 1, 0);
        for row in 1..=rows {
            let column = self.search(row, columns);
            self.shift(column);
        }
        let held = self.holders.iter().enumerate().skip(1).filter(|(_, row)| **row > 0);
        let pairs = held.map(|(column, row)| (row - 1, column - 1));
        self.pairs.extend(pairs.filter(|(row, column)| self.gains[row * columns + column] > 0.0));
    }

    /// Grows the cheapest way from `row` until it ends in a free column, and gives that.
    fn search(&mut self, row: usize, columns: usize) -> usize {
        refill(&mut self.distances, columns + 1, f32::INFINITY);
        refill(&mut self.is_visited, columns + 1, false);
        self.holders[0] = row;
        let mut at = 0;
        while self.holders[at] != 0 {
            self.is_visited[at] = true;
            at = self.step(at, columns);
        }
        at
    }

    /// Looks from the row that holds column `at` at all columns; gives the nearest that was not visited.
    fn step(&mut self, at: usize, columns: usize) -> usize {
        let row = self.holders[at];
        let (mut nearest, mut distance) = (0, f32::INFINITY);
        for column in (1..=columns).filter(|column| !self.is_visited[*column]) {
            let cost = -self.gains[(row - 1) * columns + column - 1];
            let reduced = cost - self.row_potentials[row] - self.column_potentials[column];
            if reduced < self.distances[column] {
                self.distances[column] = reduced;
                self.previous[column] = at;
            }
            if nearest == 0 || self.distances[column] < distance {
                (nearest, distance) = (column, self.distances[column]);
            }
        }
        for column in 0..=columns {
            if self.is_visited[column] {
                self.row_potentials[self.holders[column]] += distance;
                self.column_potentials[column] -= distance;
            } else {
                self.distances[column] -= distance;
            }
        }
        nearest
    }

    /// Moves every holder on the way to `column` one column on.
    fn shift(&mut self, mut column: usize) {
        while column != 0 {
            let before = self.previous[column];
            self.holders[column] = self.holders[before];
            column = before;
        }
    }
}

fn refill<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) {
    buffer.clear();
    buffer.resize(len, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The greatest sum of gains, by trying everything.
    fn greatest(gains: &[Vec<f32>], taken: &mut Vec<usize>) -> f32 {
        let Some((row, rest)) = gains.split_first() else { return 0.0 };
        let mut best = greatest(rest, taken);
        for (column, gain) in row.iter().enumerate() {
            if *gain > 0.0 && !taken.contains(&column) {
                taken.push(column);
                best = best.max(gain + greatest(rest, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_other_pairing_gains_more(
            gains in (1_usize..6, 1_usize..6).prop_flat_map(|(rows, columns)| {
                proptest::collection::vec(proptest::collection::vec(-0.5_f32..1.0, columns), rows)
            })
        ) {
            let mut assignment = Assignment::default();
            let columns = gains[0].len();
            let pairs = assignment.best(gains.len(), columns, |row, column| gains[row][column]);
            for (at, pair) in pairs.iter().enumerate() {
                prop_assert!(gains[pair.0][pair.1] > 0.0);
                prop_assert!(pairs[..at].iter().all(|other| other.0 != pair.0 && other.1 != pair.1));
            }
            let sum: f32 = pairs.iter().map(|pair| gains[pair.0][pair.1]).sum();
            prop_assert!((sum - greatest(&gains, &mut Vec::new())).abs() < 1e-4, "{pairs:?}");
        }
    }

    #[test]
    fn nothing_is_paired_with_nothing() {
        let mut assignment = Assignment::default();
        assert_eq!(assignment.best(0, 3, |_, _| 1.0), []);
        assert_eq!(assignment.best(3, 0, |_, _| 1.0), []);
    }
}
