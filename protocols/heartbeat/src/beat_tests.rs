use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Time {
    Time::ZERO + ms(millis)
}

/// 5 s and 15 s without jitter.
fn steady() -> Config {
    Config::default().with_jitter(Duration::ZERO).unwrap()
}

/// A beat begun at 0 whose tick at 5 s sent probe 1.
fn after_one_probe(config: &Config) -> Beat {
    let mut beat = Beat::new(config, at(0), 0);
    assert_eq!(beat.tick(config, at(5_000), 0), probe(1, 5_000));
    beat
}

const fn probe(number: u32, wait: u64) -> Tick {
    Tick::Probe { number, wait: ms(wait) }
}

const fn dead(silent: u64) -> Tick {
    Tick::Dead(PeerSilent { silent: ms(silent) })
}

#[test]
fn it_is_forty_bytes_and_its_config_twelve() {
    assert_eq!(size_of::<Beat>(), 40);
    assert_eq!(size_of::<Config>(), 12);
}

#[test]
fn a_silent_peer_is_probed_each_interval_and_given_up_after_the_timeout() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    assert_eq!(beat.tick(&config, at(0), 0), Tick::Wait(ms(5_000)));
    assert_eq!(beat.tick(&config, at(4_999), 0), Tick::Wait(ms(1)));
    assert_eq!(beat.tick(&config, at(5_000), 0), probe(1, 5_000));
    assert_eq!(beat.tick(&config, at(10_000), 0), probe(2, 5_000));
    assert_eq!(beat.tick(&config, at(14_999), 0), Tick::Wait(ms(1)));
    assert_eq!(beat.tick(&config, at(15_000), 0), dead(15_000));
}

#[test]
fn the_wait_ends_at_the_deadline_where_that_is_sooner_than_the_next_probe() {
    let config = Config::new(ms(5_000), ms(7_000)).unwrap();
    let config = config.with_jitter(Duration::ZERO).unwrap();
    let mut beat = Beat::new(&config, at(0), 0);
    assert_eq!(beat.tick(&config, at(5_000), 0), probe(1, 2_000));
    assert_eq!(beat.tick(&config, at(7_000), 0), dead(7_000));
}

#[test]
fn any_traffic_proves_life_without_an_answer() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    for second in 1..=100 {
        let now = at(second * 1_000);
        beat.heard(now);
        assert!(!matches!(beat.tick(&config, now, 0), Tick::Dead(_)));
    }
    assert_eq!(beat.rtt(), None, "traffic is no round trip");
    assert_eq!(beat.tick(&config, at(105_000), 0), probe(21, 5_000));
    assert_eq!(beat.tick(&config, at(110_000), 0), probe(22, 5_000));
    assert_eq!(beat.tick(&config, at(115_000), 0), dead(15_000));
}

#[test]
fn traffic_does_not_put_the_probe_off() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    beat.heard(at(4_999));
    assert_eq!(beat.tick(&config, at(5_000), 0), probe(1, 5_000));
}

#[test]
fn a_process_that_was_stopped_asks_before_it_gives_up() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    // The tick due at 5 s comes at 60 s: the peer was asked nothing for that long.
    assert_eq!(beat.tick(&config, at(60_000), 0), probe(1, 5_000));
    assert_eq!(beat.tick(&config, at(65_000), 0), probe(2, 5_000));
    assert_eq!(beat.tick(&config, at(70_000), 0), dead(15_000));
}

#[test]
fn a_late_probe_moves_the_deadline_only_by_its_lateness() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    beat.heard(at(1_000));
    assert_eq!(beat.tick(&config, at(7_000), 0), probe(1, 5_000));
    assert_eq!(beat.tick(&config, at(12_000), 0), probe(2, 5_000));
    assert_eq!(beat.tick(&config, at(17_000), 0), probe(3, 1_000));
    assert_eq!(beat.tick(&config, at(18_000), 0), dead(15_000));
}

#[test]
fn traffic_heard_after_the_probe_was_due_does_not_move_the_deadline_past_the_timeout() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    beat.heard(at(59_000));
    assert_eq!(beat.tick(&config, at(60_000), 0), probe(1, 5_000));
    assert_eq!(beat.tick(&config, at(65_000), 0), probe(2, 5_000));
    assert_eq!(beat.tick(&config, at(70_000), 0), probe(3, 5_000));
    assert_eq!(beat.tick(&config, at(75_000), 0), dead(15_000));
}

#[test]
fn a_peer_not_listened_to_is_not_silent() {
    let config = steady();
    let mut beat = after_one_probe(&config);
    beat.forgive(at(14_000));
    assert_eq!(beat.tick(&config, at(14_000), 0), probe(2, 5_000));
    assert_eq!(beat.answered(at(14_001), 1), None, "what was forgiven is not timed");
    assert!(matches!(beat.tick(&config, at(28_000), 0), Tick::Probe { .. }));
}

#[test]
fn an_answer_gives_the_round_trip() {
    let config = steady();
    let mut beat = after_one_probe(&config);
    assert_eq!(beat.answered(at(5_003), 1), Some(ms(3)));
    assert_eq!(beat.tick(&config, at(10_000), 0), probe(2, 5_000));
    assert_eq!(beat.answered(at(10_011), 2), Some(ms(11)));
    let rtt = beat.rtt().unwrap();
    assert_eq!((rtt.last, rtt.smoothed, rtt.worst), (ms(11), ms(4), ms(11)));
}

#[test]
fn a_round_trip_longer_than_the_interval_is_timed_in_full() {
    let config = steady();
    let mut beat = after_one_probe(&config);
    assert_eq!(beat.tick(&config, at(10_000), 0), probe(2, 5_000));
    assert_eq!(beat.answered(at(12_000), 1), Some(ms(7_000)));
    assert_eq!(beat.answered(at(12_001), 2), None, "one at a time is timed");
    assert_eq!(beat.tick(&config, at(15_000), 0), probe(3, 5_000));
    assert_eq!(beat.answered(at(15_004), 3), Some(ms(4)));
}

#[test]
fn the_answer_to_a_later_probe_ends_the_timing_without_a_sample() {
    let config = steady();
    let mut beat = after_one_probe(&config);
    assert_eq!(beat.tick(&config, at(10_000), 0), probe(2, 5_000));
    assert_eq!(beat.answered(at(10_001), 2), None);
    assert_eq!(beat.answered(at(10_002), 1), None);
    assert_eq!(beat.tick(&config, at(15_000), 0), probe(3, 5_000));
    assert_eq!(beat.answered(at(15_004), 3), Some(ms(4)));
}

#[test]
fn only_the_answer_to_an_open_probe_is_a_sample_but_every_answer_is_life() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    for number in [0, 1, 2, u32::MAX] {
        assert_eq!(beat.answered(at(1), number), None, "{number} before any probe");
    }
    let _ = beat.tick(&config, at(5_000), 0);
    for number in [0, 2, 3, u32::MAX] {
        assert_eq!(beat.answered(at(5_001), number), None, "{number} was never sent");
    }
    assert_eq!(beat.answered(at(5_002), 1), Some(ms(2)), "they did not disturb it");
    assert_eq!(beat.answered(at(5_003), 1), None, "a second time");
    assert_eq!(beat.tick(&config, at(10_000), 0), probe(2, 5_000));
    assert_eq!(beat.answered(at(14_000), 99), None);
    assert_eq!(beat.tick(&config, at(15_000), 0), probe(3, 5_000));
    assert_eq!(beat.tick(&config, at(20_000), 0), probe(4, 5_000));
    assert_eq!(beat.tick(&config, at(25_000), 0), probe(5, 4_000));
    assert_eq!(beat.tick(&config, at(29_000), 0), dead(15_000));
}

#[test]
fn a_peer_that_talks_but_never_answers_costs_no_time_beyond_the_timeout() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    let mut now = at(0);
    for round in 0..100_000u32 {
        now = now + ms(5_000);
        beat.heard(now);
        assert_eq!(beat.tick(&config, now, 0), probe(round + 1, 5_000));
    }
    // Given up at the last probe or at one of the three before it, and begun anew there.
    let oldest = (0..4).find(|age| beat.clone().answered(now, 100_000 - age).is_some());
    assert!(oldest.is_some());
}

#[test]
fn numbers_wrap_and_are_still_told_apart() {
    let config = steady();
    let mut beat = Beat::new(&config, at(0), 0);
    beat.number = u32::MAX - 1;
    assert_eq!(beat.tick(&config, at(5_000), 0), probe(u32::MAX, 5_000));
    assert_eq!(beat.tick(&config, at(10_000), 0), probe(0, 5_000));
    assert_eq!(beat.answered(at(10_001), 1), None);
    assert_eq!(beat.answered(at(10_001), u32::MAX), Some(ms(5_001)));
}

#[test]
fn jitter_only_shortens_the_wait_and_keeps_its_bound() {
    let config = Config::default();
    let mut seen = (Duration::MAX, Duration::ZERO);
    let mut random = 0x1234_5678u32;
    let mut now = at(0);
    let mut beat = Beat::new(&config, now, random);
    for _ in 0..2_000 {
        // Numerical Recipes' generator: any spread will do.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        beat.heard(now);
        if let Tick::Probe { wait, .. } = beat.tick(&config, now, random) {
            seen = (seen.0.min(wait), seen.1.max(wait));
        }
        let Tick::Wait(wait) = beat.tick(&config, now, random) else {
            panic!("due twice at once");
        };
        now = now + wait;
    }
    assert!(seen.0 >= ms(4_500) && seen.0 < ms(4_510), "{seen:?}");
    assert!(seen.1 <= ms(5_000) && seen.1 > ms(4_990), "{seen:?}");
}

/// Behind an open probe the next one counts from that one's time, in whole milliseconds.
#[test]
fn a_fraction_of_a_millisecond_never_makes_the_wait_longer() {
    let config = steady();
    let mut beat = after_one_probe(&config);
    let now = at(10_000) + Duration::from_nanos(999_999);
    let Tick::Probe { wait, .. } = beat.tick(&config, now, 0) else {
        panic!("a probe is due");
    };
    assert_eq!(wait, ms(5_000) - Duration::from_nanos(999_999));
}

/// At the smallest interval, times that are no whole milliseconds, answers that never come: the
/// wait must not become zero, or the loop would spin.
#[test]
fn a_wait_is_never_zero() {
    let config = Config::new(ms(1), ms(1_000)).unwrap();
    let mut now = at(0);
    let mut beat = Beat::new(&config, now, 0);
    let mut random = 1u32;
    for _ in 0..10_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match beat.tick(&config, now, random) {
            Tick::Wait(wait) | Tick::Probe { wait, .. } => {
                assert!(wait > Duration::ZERO);
                now = now + wait / 2 + Duration::from_nanos(u64::from(random >> 16));
            }
            Tick::Dead(silent) => {
                assert!(silent.silent >= config.timeout());
                return;
            }
        }
    }
    panic!("a silent peer was never given up");
}

#[test]
fn the_reason_says_for_how_long() {
    let silent = PeerSilent { silent: ms(15_000) };
    assert_eq!(silent.to_string(), "no sign of life from the peer for 15s");
}
