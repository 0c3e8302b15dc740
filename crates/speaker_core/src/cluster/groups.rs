//! Equal points collapsed into one.
//!
//! Duplicates are common (the same clip ingested twice, copied enrolments) and poison a neighbour search: m equal rows
//! are each other's nearest neighbours m^2 times. Everything quadratic here runs on distinct rows; the copies return in
//! `prim`, each joined to its group at the group's core distance.

use super::rows::UnitRows;

pub(super) struct Groups {
    firsts: Vec<u32>,
    start: Vec<u32>,
    members: Vec<u32>,
}

impl Groups {
    /// Groups are numbered by their first member, members ascend.
    pub(super) fn of_equal_rows(rows: &UnitRows) -> Self {
        let mut sorted: Vec<u32> = (0..rows.len() as u32).collect();
        sorted.sort_unstable_by(|&i, &j| rows.compare(i as usize, j as usize).then(i.cmp(&j)));
        let mut groups: Vec<&[u32]> = sorted.chunk_by(|&i, &j| rows.compare(i as usize, j as usize).is_eq()).collect();
        groups.sort_unstable_by_key(|group| group[0]);
        let firsts = groups.iter().map(|group| group[0]).collect();
        let mut start = Vec::with_capacity(groups.len() + 1);
        let mut members = Vec::with_capacity(sorted.len());
        for group in groups {
            start.push(members.len() as u32);
            members.extend_from_slice(group);
        }
        start.push(members.len() as u32);
        Groups { firsts, start, members }
    }

    pub(super) fn len(&self) -> usize {
        self.start.len() - 1
    }

    pub(super) fn members(&self, group: usize) -> &[u32] {
        &self.members[self.start[group] as usize..self.start[group + 1] as usize]
    }

    /// The rows that stand for the groups.
    pub(super) fn firsts(&self) -> &[u32] {
        &self.firsts
    }

    pub(super) fn size(&self, group: usize) -> usize {
        (self.start[group + 1] - self.start[group]) as usize
    }

    /// One value per group to one per row.
    pub(super) fn spread(&self, of_groups: &[f64]) -> Vec<f64> {
        let mut of_rows = vec![0.0; self.members.len()];
        for (group, &value) in of_groups.iter().enumerate() {
            for &row in self.members(group) {
                of_rows[row as usize] = value;
            }
        }
        of_rows
    }
}
