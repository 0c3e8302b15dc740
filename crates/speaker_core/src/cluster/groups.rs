//! Equal points collapsed into one.
//!
//! Duplicates are common (the same clip ingested twice, copied enrolments) and poison a neighbour search: m equal rows
//! are each other's nearest neighbours m^2 times. Everything quadratic here runs on distinct rows; the copies return in
//! `prim`, each joined to its group at the group's core distance.

use super::crew::Crew;
use super::rows::UnitRows;
use super::ClusterError;

pub(super) struct Groups {
    firsts: Vec<u32>,
    start: Vec<u32>,
    members: Vec<u32>,
}

impl Groups {
    /// Groups are numbered by their first member until `arrange`d, members ascend.
    pub(super) fn of_equal_rows(rows: &UnitRows, crew: &Crew) -> Result<Self, ClusterError> {
        let mut sorted: Vec<(u64, u32)> = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            crew.check_at(row)?;
            sorted.push((rows.fingerprint(row), row as u32));
        }
        sorted.sort_unstable();
        let compare = |i: u32, j: u32| rows.compare(i as usize, j as usize);
        for alike in sorted.chunk_by_mut(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
            crew.check()?;
            alike.sort_unstable_by(|a, b| compare(a.1, b.1).then(a.1.cmp(&b.1)));
        }
        let mut groups: Vec<&[(u64, u32)]> = sorted.chunk_by(|a, b| a.0 == b.0 && compare(a.1, b.1).is_eq()).collect();
        groups.sort_unstable_by_key(|group| group[0].1);
        let firsts = groups.iter().map(|group| group[0].1).collect();
        let mut start = Vec::with_capacity(groups.len() + 1);
        let mut members = Vec::with_capacity(sorted.len());
        for group in groups {
            start.push(members.len() as u32);
            members.extend(group.iter().map(|&(_, row)| row));
        }
        start.push(members.len() as u32);
        Ok(Groups { firsts, start, members })
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

    /// Renumbers: group i becomes what `order[i]` was.
    pub(super) fn arrange(&mut self, order: &[u32]) {
        let firsts = order.iter().map(|&group| self.firsts[group as usize]).collect();
        let mut start = Vec::with_capacity(self.start.len());
        let mut members = Vec::with_capacity(self.members.len());
        for &group in order {
            start.push(members.len() as u32);
            members.extend_from_slice(self.members(group as usize));
        }
        start.push(members.len() as u32);
        *self = Groups { firsts, start, members };
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
