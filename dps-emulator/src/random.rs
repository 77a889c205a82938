//! Random numbers and ids, which a seed makes repeatable.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

/// The step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A source of random numbers and ids. Nothing that must be secret is made with it.
#[derive(Debug, Default)]
pub(crate) struct Random {
    /// The state of SplitMix64, for a source with a seed.
    seeded: Option<AtomicU64>,
}

impl Random {
    /// A source that is different in each run, or that repeats its numbers for the same seed.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self {
            seeded: seed.map(AtomicU64::new),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        match &self.seeded {
            Some(state) => mixed(state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP)),
            None => Uuid::new_v4().as_u64_pair().0,
        }
    }

    pub(crate) fn uuid(&self) -> Uuid {
        match &self.seeded {
            Some(_) => {
                let number = u128::from(self.number()) << 64 | u128::from(self.number());
                Builder::from_random_bytes(number.to_be_bytes()).into_uuid()
            }
            None => Uuid::new_v4(),
        }
    }

    /// True with this probability, 0 to 1.
    pub(crate) fn happens(&self, probability: f64) -> bool {
        // 53 bits, which a float holds exactly. A uuid has its version in the low bits of the first half.
        let number = mixed(self.number()) >> 11;
        #[allow(clippy::cast_precision_loss)]
        let number = number as f64 / (1_u64 << 53) as f64;
        number < probability
    }
}

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_numbers_and_ids() {
        let (one, other) = (Random::new(Some(7)), Random::new(Some(7)));
        assert_eq!(one.number(), other.number());
        assert_eq!(one.uuid(), other.uuid());
        assert_ne!(one.uuid(), one.uuid());
        assert_eq!(one.uuid().get_version_num(), 4);
        assert_ne!(Random::new(Some(8)).number(), Random::new(Some(7)).number());
        assert_ne!(Random::new(None).uuid(), Random::new(None).uuid());
    }

    /// The first numbers of the reference implementation of SplitMix64 with the seed 1234567.
    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let random = Random::new(Some(1_234_567));
        assert_eq!(random.number(), 6_457_827_717_110_365_317);
        assert_eq!(random.number(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_probability_is_met() {
        for seed in [None, Some(1)] {
            let random = Random::new(seed);
            let happened = (0..10_000).filter(|_| random.happens(0.25)).count();
            assert!((2_000..3_000).contains(&happened), "{happened}");
            assert!(!random.happens(0.0));
            assert!(random.happens(1.0));
        }
    }
}
