use super::*;
use proptest::prelude::*;

fn utc() -> TimeZone {
    TimeZone::UTC
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next moments after `start`, as the zone's clock shows them.
fn moments(schedule: &str, zone: &str, start: &str, count: usize) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    let timetable = Timetable::parse(schedule, &zone).unwrap();
    let mut moment = at(start);
    let base = moment;
    (0..count)
        .map(|_| {
            moment = timetable.next(moment, base).unwrap();
            moment.to_zoned(zone.clone()).strftime("%a %d.%m. %H:%M:%S %z").to_string()
        })
        .collect()
}

const MONDAY: &str = "2026-11-23T00:00:30Z";

#[test]
fn unix_cron_is_understood() {
    for (schedule, first) in [
        ("* * * * *", "Mon 23.11. 00:01:00"),
        ("0 12 * * 0", "Sun 29.11. 12:00:00"),
        ("0 12 * * 7", "Sun 29.11. 12:00:00"),
        ("0 12 * * 1", "Mon 23.11. 12:00:00"),
        ("0 12 * * 5-7", "Fri 27.11. 12:00:00"),
        ("0 12 * * sat-sun", "Sat 28.11. 12:00:00"),
        ("0 12 * * sun", "Sun 29.11. 12:00:00"),
        ("0 12 ? * MON", "Mon 23.11. 12:00:00"),
        ("0 12 1 jan *", "Fri 01.01. 12:00:00"),
        // The 13th or a Friday.
        ("0 12 13 * 5", "Fri 27.11. 12:00:00"),
        ("0 12 13 * *", "Sun 13.12. 12:00:00"),
        // A star with step one restricts nothing.
        ("0 12 */1 * 5", "Fri 27.11. 12:00:00"),
        ("0 12 *,3 * 5", "Fri 27.11. 12:00:00"),
        ("0 12 L * *", "Mon 30.11. 12:00:00"),
        ("5/15 * * * *", "Mon 23.11. 00:05:00"),
        ("0 20/2 * * *", "Mon 23.11. 20:00:00"),
        ("0 0 29 2 *", "Tue 29.02. 00:00:00"),
        ("@daily", "Tue 24.11. 00:00:00"),
        ("@midnight", "Tue 24.11. 00:00:00"),
        ("@hourly", "Mon 23.11. 01:00:00"),
        ("@weekly", "Sun 29.11. 00:00:00"),
        ("@monthly", "Tue 01.12. 00:00:00"),
        ("@yearly", "Fri 01.01. 00:00:00"),
        ("@every 10s", "Mon 23.11. 00:00:40"),
        ("@every 500ms", "Mon 23.11. 00:00:31"),
        ("@every 0", "Mon 23.11. 00:00:31"),
        ("@every 1h30m", "Mon 23.11. 01:30:30"),
        ("TZ=Europe/London 0 6 * * *", "Mon 23.11. 06:00:00"),
        ("CRON_TZ=Asia/Tokyo 0 6 * * *", "Mon 23.11. 21:00:00"),
        ("TZ=UTC @daily", "Tue 24.11. 00:00:00"),
        ("0 3 * * *; 0 1 * * *;", "Mon 23.11. 01:00:00"),
    ] {
        let found = moments(schedule, "UTC", MONDAY, 1);
        assert_eq!(found, [format!("{first} +0000")], "{schedule}");
    }
    assert_eq!(
        moments("5/15 1 * * *", "UTC", MONDAY, 5).join(" "),
        "Mon 23.11. 01:05:00 +0000 Mon 23.11. 01:20:00 +0000 Mon 23.11. 01:35:00 +0000 Mon 23.11. 01:50:00 +0000 \
         Tue 24.11. 01:05:00 +0000"
    );
}

#[test]
fn what_is_no_schedule_is_said_to_be_none() {
    for bad in [
        "",
        " ; ",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "59-1 * * * *",
        "*/0 * * * *",
        "L * * * *",
        "* * * * +1",
        "+1 * * * *",
        "jan * * * *",
        "* * * sun *",
        ", * * * *",
        "1,,2 * * * *",
        "a b c d e",
        "@reboot",
        "@every",
        "@every -5s",
        "@every x",
        "@",
        "@daily 5",
        "TZ=UTC",
        "TZ= * * * * *",
        "TZ=Bad/Zone * * * * *",
        "CRON_TZ=UTC",
        "TZ=../../etc/passwd * * * * *",
        "0 0 31 2 *",
        "0 0 30 feb *",
        "ä * * * *",
        "* * * * 1#",
        "1-2-3 * * * *",
        "1/2/3 * * * *",
        "/5 * * * *",
    ] {
        let error = Timetable::parse(bad, &utc());
        assert!(error.is_err(), "{bad:?} is taken for a schedule");
    }
    assert!(Timetable::parse(&"* * * * *;".repeat(1000), &utc()).is_err());
}

#[test]
fn what_is_right_beside_what_is_wrong_is_in_force() {
    let (timetable, errors) = Timetable::read("TZ=UTC; 0 5 * * *; 61 * * * *", &utc());
    assert_eq!(errors.len(), 2);
    assert!(errors[1].to_string().contains("61 * * * *"), "{}", errors[1]);
    assert_eq!(timetable.next(at(MONDAY), at(MONDAY)), Some(at("2026-11-23T05:00:00Z")));
}

#[test]
fn in_spring_a_fixed_time_in_the_gap_runs_once_right_after_it() {
    for (schedule, zone, start, expected) in [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            ["Sun 29.03. 03:00:00 +0200", "Mon 30.03. 02:30:00 +0200"],
        ),
        (
            "30 1 * * *",
            "Europe/London",
            "2026-03-28T12:00:00Z",
            ["Sun 29.03. 02:00:00 +0100", "Mon 30.03. 01:30:00 +0100"],
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            ["Sun 29.03. 03:00:00 +0200", "Mon 30.03. 02:00:00 +0200"],
        ),
        (
            "30 2,14 * * *",
            "Europe/Berlin",
            "2026-03-28T14:00:00Z",
            ["Sun 29.03. 03:00:00 +0200", "Sun 29.03. 14:30:00 +0200"],
        ),
        (
            "0 3 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            ["Sun 29.03. 03:00:00 +0200", "Mon 30.03. 03:00:00 +0200"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:30:00Z",
            ["Sun 29.03. 03:00:00 +0200", "Sun 29.03. 03:30:00 +0200"],
        ),
    ] {
        assert_eq!(moments(schedule, zone, start, 2), expected, "{schedule}");
    }
}

#[test]
fn in_autumn_a_fixed_time_runs_once_and_an_interval_goes_on_in_order() {
    for (schedule, zone, start, expected) in [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            ["Sun 25.10. 02:30:00 +0200", "Mon 26.10. 02:30:00 +0100"],
        ),
        (
            "30 1 * * *",
            "Europe/London",
            "2026-10-24T12:00:00Z",
            ["Sun 25.10. 01:30:00 +0100", "Mon 26.10. 01:30:00 +0000"],
        ),
        (
            "30 2,14 * * *",
            "Europe/Berlin",
            "2026-10-24T13:00:00Z",
            ["Sun 25.10. 02:30:00 +0200", "Sun 25.10. 14:30:00 +0100"],
        ),
    ] {
        assert_eq!(moments(schedule, zone, start, 2), expected, "{schedule}");
    }
    let interval = moments("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 6);
    assert_eq!(
        interval,
        [
            "Sun 25.10. 02:00:00 +0200",
            "Sun 25.10. 02:30:00 +0200",
            "Sun 25.10. 02:00:00 +0100",
            "Sun 25.10. 02:30:00 +0100",
            "Sun 25.10. 03:00:00 +0100",
            "Sun 25.10. 03:30:00 +0100",
        ]
    );
}

#[test]
fn a_star_in_minute_or_hour_goes_by_the_clock_leaving_out_the_gap_and_repeating_the_hour() {
    const SPRING: &str = "2026-03-28T23:00:00Z";
    const AUTUMN: &str = "2026-10-24T22:00:00Z";
    for (schedule, start, expected) in [
        (
            "30 */2 * * *",
            SPRING,
            ["Sun 29.03. 00:30:00 +0100", "Sun 29.03. 04:30:00 +0200", "Sun 29.03. 06:30:00 +0200"],
        ),
        (
            "30 */2 * * *",
            AUTUMN,
            ["Sun 25.10. 00:30:00 +0200", "Sun 25.10. 02:30:00 +0200", "Sun 25.10. 02:30:00 +0100"],
        ),
        (
            "*/30 2 * * *",
            SPRING,
            ["Mon 30.03. 02:00:00 +0200", "Mon 30.03. 02:30:00 +0200", "Tue 31.03. 02:00:00 +0200"],
        ),
        (
            "*/30 2 * * *",
            AUTUMN,
            ["Sun 25.10. 02:00:00 +0200", "Sun 25.10. 02:30:00 +0200", "Sun 25.10. 02:00:00 +0100"],
        ),
        // Without a star these are fixed times.
        (
            "30 0/2 * * *",
            SPRING,
            ["Sun 29.03. 00:30:00 +0100", "Sun 29.03. 03:00:00 +0200", "Sun 29.03. 04:30:00 +0200"],
        ),
        (
            "30 0-23/2 * * *",
            AUTUMN,
            ["Sun 25.10. 00:30:00 +0200", "Sun 25.10. 02:30:00 +0200", "Sun 25.10. 04:30:00 +0100"],
        ),
    ] {
        assert_eq!(moments(schedule, "Europe/Berlin", start, 3), expected, "{schedule}");
    }
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        Just("?".to_owned()),
        (0..60u8).prop_map(|value| value.to_string()),
        (0..60u8, 0..60u8).prop_map(|(one, other)| format!("{one}-{other}")),
        (1..60u8).prop_map(|step| format!("*/{step}")),
        (0..60u8, 1..60u8).prop_map(|(start, step)| format!("{start}/{step}")),
        (0..24u8, 0..24u8).prop_map(|(one, other)| format!("{one},{other}")),
        Just("L".to_owned()),
        Just("15W".to_owned()),
        Just("5#2".to_owned()),
        Just("mon".to_owned()),
        Just("feb".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", signs in "[-*/,?0-9LW# @;TZ=a-z]{0,30}") {
        for text in [text, signs] {
            let (timetable, _) = Timetable::read(&text, &utc());
            prop_assert!(timetable.next(at(MONDAY), at(MONDAY)).is_none_or(|next| next > at(MONDAY)));
        }
    }

    #[test]
    fn the_next_moment_is_later_and_later_starts_give_no_earlier_ones(
        fields in prop::array::uniform5(field()),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
        start in 1_500_000_000..2_500_000_000i64,
        step in 0..200_000i64,
    ) {
        let zone = TimeZone::get(zone).unwrap();
        let Ok(timetable) = Timetable::parse(&fields.join(" "), &zone) else { return Ok(()) };
        let one = Timestamp::from_second(start).unwrap();
        let other = Timestamp::from_second(start + step).unwrap();
        let (first, second) = (timetable.next(one, one), timetable.next(other, one));
        let first = first.expect("what is accepted fires");
        prop_assert!(first > one);
        prop_assert!(second.expect("what is accepted fires") >= first);
        prop_assert_eq!(first.subsec_nanosecond(), 0);
    }

    #[test]
    fn every_keeps_its_pace(seconds in 1..100_000i64, base in 0..2_000_000_000i64, after in -1_000_000..1_000_000i64) {
        let timetable = Timetable::parse(&format!("@every {seconds}s"), &utc()).unwrap();
        let base = Timestamp::from_second(base).unwrap();
        let after = base + SignedDuration::from_secs(after);
        let next = timetable.next(after, base).unwrap();
        prop_assert!(next > after && next > base);
        prop_assert_eq!(next.duration_since(base).as_secs() % seconds, 0);
    }
}
