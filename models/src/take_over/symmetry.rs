//! Symmetry: states that differ only in the places of the replicas are one state for the checker.

use super::State;
use super::replica::ReplicaId;
use super::store::Entry;

impl State {
    /// The same state with its replicas in a defined order.
    #[must_use]
    pub fn in_order(&self) -> Self {
        let owned = |place: u8| {
            let is_own = move |entry: Entry| (entry.owner.place == place).then_some(entry);
            self.store
                .iter()
                .map(move |rows| rows.entry.and_then(is_own).map(|it| it.owner.life))
        };
        let mut order: Vec<u8> = (0..).take(self.replicas.len()).collect();
        order.sort_by(|&a, &b| {
            let [left, right] = [a, b].map(|place| &self.replicas[usize::from(place)]);
            (left.up, left.life, left.observer.is_some())
                .cmp(&(right.up, right.life, right.observer.is_some()))
                .then_with(|| owned(a).cmp(owned(b)))
                .then_with(|| (left.request, &left.tasks).cmp(&(right.request, &right.tasks)))
        });
        let mut places = vec![0; order.len()];
        for (place, &old) in (0..).zip(&order) {
            places[usize::from(old)] = place;
        }
        let rename = |id: &mut ReplicaId| id.place = places[usize::from(id.place)];
        let mut ordered = self.clone();
        for (to, &old) in ordered.replicas.iter_mut().zip(&order) {
            to.clone_from(&self.replicas[usize::from(old)]);
            to.observer
                .iter_mut()
                .for_each(|it| rename(&mut it.found.owner));
        }
        let entries = ordered
            .store
            .iter_mut()
            .filter_map(|rows| rows.entry.as_mut());
        entries.for_each(|entry| rename(&mut entry.owner));
        let late = ordered
            .late
            .iter_mut()
            .flat_map(|(_, change)| change.ids_mut());
        late.for_each(rename);
        ordered
    }
}
