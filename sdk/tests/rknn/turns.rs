//! Whose turn it is: cores get frames one after the other, however many slots are taken ahead and whatever is held.

use repedge::backend::rknn::{Cores, Pool, PoolReport, RknnOptions, Slot};
use stand_in::Scenario;

use crate::frames::{assert_nothing_left, number, run, three_cores};
use crate::npu;

fn slots(pool: &mut Pool) -> Vec<Slot> {
    std::iter::from_fn(|| pool.slot().unwrap()).collect()
}

/// The cores that slots are of, as the stand-in counts their frames.
fn cores_of(pool: &mut Pool, scenario: &Scenario, slots: Vec<Slot>) -> Vec<usize> {
    let core_of = |slot: Slot| {
        let before = npu::counters(scenario).runs_by_core;
        pool.submit(slot);
        pool.next().unwrap().result.unwrap();
        let after = npu::counters(scenario).runs_by_core;
        (0..after.len()).find(|&core| after[core] > before[core]).unwrap()
    };
    slots.into_iter().map(core_of).collect()
}

#[test]
fn slots_taken_ahead_go_round_the_cores() {
    for (count, expected) in [(1, vec![0, 0]), (2, vec![0, 1, 0, 1]), (3, vec![0, 1, 2, 0, 1, 2])] {
        let scenario = npu::scenario(&format!("round {count} cores"));
        let options = RknnOptions { cores: Cores::Each(count), ..npu::options() };
        let mut pool = npu::pool(&scenario, &options).unwrap();
        for _ in 0..2 {
            let ahead = slots(&mut pool);
            assert_eq!(cores_of(&mut pool, &scenario, ahead), expected);
        }
        drop(pool);
        assert_nothing_left(&scenario);
    }
}

#[test]
fn a_core_without_free_sets_is_passed_over_and_gets_its_turn_again() {
    let scenario = npu::scenario("passed over");
    let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
    let [first, second, third, fourth] = [(); 4].map(|()| pool.slot().unwrap().unwrap());
    drop((second, third));
    // Both of the first core are held.
    let others = slots(&mut pool);
    assert_eq!(others.len(), 4);
    // Another time round: the first core has room again.
    drop(first);
    let back = pool.slot().unwrap().unwrap();
    assert!(pool.slot().unwrap().is_none(), "everything is taken");
    assert_eq!(cores_of(&mut pool, &scenario, others), [1, 2, 1, 2]);
    assert_eq!(cores_of(&mut pool, &scenario, vec![back, fourth]), [0, 0]);
    let ahead = slots(&mut pool);
    assert_eq!(cores_of(&mut pool, &scenario, ahead), [1, 2, 0, 1, 2, 0]);
    drop(pool);
    assert_nothing_left(&scenario);
}

/// Outputs that a caller keeps are sets that their core lacks: frames go on through the others.
#[test]
fn outputs_that_are_kept_starve_nobody() {
    let scenario = npu::scenario("kept");
    let options = RknnOptions { frames_per_core: 1, ..three_cores() };
    let mut pool = npu::pool(&scenario, &options).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    pool.submit(slot);
    let kept = pool.next().unwrap().result.unwrap();
    assert!(run(&mut pool, 30).iter().all(Option::is_none));
    assert_eq!(npu::counters(&scenario).runs_by_core, [1, 15, 15]);
    drop(kept);
    assert!(run(&mut pool, 30).iter().all(Option::is_none));
    assert_eq!(npu::counters(&scenario).runs_by_core, [11, 25, 25]);
    drop(pool);
    assert_nothing_left(&scenario);
}

/// The host takes frames in their order, so that a slow core has the others wait, and no more than its share.
#[test]
fn a_slow_core_loses_nothing_and_keeps_its_turn() {
    let reds: Vec<u8> = (0..60).map(number).collect();
    let model = npu::replay(npu::scenario("slow in turn"), &[500, 8000, 500], &reds);
    let mut pool = Pool::open(model.pack(), npu::input(), npu::outputs(), &three_cores()).unwrap();
    assert!(run(&mut pool, 120).iter().all(Option::is_none));
    assert_eq!(pool.report(), PoolReport { finished: 120, ..PoolReport::default() });
    assert_eq!(npu::counters(&model.scenario).runs_by_core, [40; 3]);
    drop(pool);
    assert_nothing_left(&model.scenario);
}

#[test]
fn cores_that_answer_alike_have_equal_shares() {
    for count in 1..=3_u8 {
        let scenario = npu::scenario(&format!("shares of {count}"));
        let options = RknnOptions { cores: Cores::Each(count), ..npu::options() };
        let mut pool = npu::pool(&scenario, &options).unwrap();
        assert!(run(&mut pool, 300).iter().all(Option::is_none));
        let runs = npu::counters(&scenario).runs_by_core;
        let (used, unused) = runs.split_at(count.into());
        assert!(used.iter().max().unwrap() - used.iter().min().unwrap() <= 1, "{runs:?}");
        assert!(unused.iter().all(|runs| *runs == 0), "{runs:?}");
        drop(pool);
        assert_nothing_left(&scenario);
    }
}
