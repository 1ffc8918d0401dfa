use super::*;

fn declined() -> Outcome {
    Outcome::Refused(Refusal::Declined { code: "generic_decline".into() })
}

fn gone() -> Outcome {
    Outcome::Refused(Refusal::Gone)
}

fn out_of_stock() -> Outcome {
    Outcome::Refused(Refusal::OutOfStock { sku: "tea".into() })
}

/// The steps an order takes when `answer` says what each comes to, and how it ends.
fn walk(mut answer: impl FnMut(&Progress) -> Outcome) -> (Vec<Step>, Progress) {
    let (mut steps, mut progress) = (Vec::new(), Progress::start());
    while progress.status == Status::Pending {
        assert!(steps.len() < 100, "it does not end: {steps:?}");
        steps.push(progress.step);
        let outcome = answer(&progress);
        progress = next(progress, outcome);
    }
    assert_eq!(progress.step, Step::End);
    (steps, progress)
}

#[test]
fn an_order_that_meets_no_refusal_is_confirmed() {
    let (steps, end) = walk(|_| Outcome::Done);
    assert_eq!(steps, [Step::Reserve, Step::Authorise, Step::Capture, Step::Commit]);
    assert_eq!((end.status, end.reason), (Status::Confirmed, None));
}

#[test]
fn what_is_out_of_stock_is_cancelled_at_once() {
    let (steps, end) = walk(|_| out_of_stock());
    assert_eq!(steps, [Step::Reserve]);
    assert_eq!(end.reason, Some(Reason::OutOfStock { sku: "tea".into() }));
}

#[test]
fn a_declined_card_gives_the_stock_back() {
    let (steps, end) = walk(|progress| if progress.step == Step::Authorise { declined() } else { Outcome::Done });
    assert_eq!(steps, [Step::Reserve, Step::Authorise, Step::Release]);
    assert_eq!(end.reason, Some(Reason::Declined { code: "generic_decline".into() }));
}

#[test]
fn a_declined_capture_lets_go_of_card_and_stock() {
    let (steps, end) = walk(|progress| if progress.step == Step::Capture { declined() } else { Outcome::Done });
    assert_eq!(steps, [Step::Reserve, Step::Authorise, Step::Capture, Step::Void, Step::Release]);
    assert_eq!(end.status, Status::Cancelled);
}

#[test]
fn a_reservation_that_expired_before_the_commit_is_made_again() {
    let (steps, end) =
        walk(
            |progress| if progress.step == Step::Commit && progress.reservation == 1 { gone() } else { Outcome::Done },
        );
    let paid = [Step::Reserve, Step::Authorise, Step::Capture, Step::Commit];
    assert_eq!(steps, [&paid[..], &[Step::Reserve, Step::Commit]].concat());
    assert_eq!((end.status, end.reservation), (Status::Confirmed, 2));
}

#[test]
fn without_stock_for_another_reservation_the_money_goes_back() {
    let (steps, end) = walk(|progress| match (progress.step, progress.reservation) {
        (Step::Commit, _) => gone(),
        (Step::Reserve, 2) => out_of_stock(),
        _ => Outcome::Done,
    });
    let paid = [Step::Reserve, Step::Authorise, Step::Capture, Step::Commit];
    assert_eq!(steps, [&paid[..], &[Step::Reserve, Step::Refund]].concat());
    assert_eq!(end.reason, Some(Reason::OutOfStock { sku: "tea".into() }));
}

#[test]
fn reservations_that_never_hold_end_with_the_money_back() {
    let (steps, end) = walk(|progress| if progress.step == Step::Commit { gone() } else { Outcome::Done });
    assert_eq!(steps.last(), Some(&Step::Refund));
    assert_eq!(end.reason, Some(Reason::ReservationExpired));
    let (_, end) = walk(|progress| if progress.step == Step::Reserve { gone() } else { Outcome::Done });
    assert_eq!(end.reason, Some(Reason::ReservationExpired));
}

#[test]
fn a_refund_that_is_refused_is_told() {
    let (_, end) = walk(|progress| match (progress.step, progress.reservation) {
        (Step::Commit, _) => gone(),
        (Step::Reserve, 2) => out_of_stock(),
        (Step::Refund, _) => declined(),
        _ => Outcome::Done,
    });
    let Some(Reason::RefundFailed { why }) = end.reason else { panic!("{end:?}") };
    assert!(why.contains("out of stock: tea") && why.contains("generic_decline"), "{why}");
}

/// Every answer in every order of arrival: it ends, and nothing that was done is left undone.
#[test]
fn whatever_is_answered_an_order_ends_and_owes_nothing() {
    let other = || Outcome::Refused(Refusal::Other { why: "no".into() });
    let outcomes = [|| Outcome::Done, declined, gone, out_of_stock, other];
    for seed in 0..5_u64.pow(7) {
        let (mut rest, mut held, mut owed) = (seed, false, false);
        let (_, end) = walk(|progress| {
            let outcome = outcomes[usize::try_from(rest % 5).unwrap()]();
            rest /= 5;
            match (progress.step, outcome == Outcome::Done) {
                (Step::Reserve, true) => held = true,
                // Refused, a commit means that the stock is not set aside any more.
                (Step::Commit, _) | (Step::Release, _) => held = false,
                (Step::Capture, true) => owed = true,
                // Refused, it is told in the reason.
                (Step::Refund, _) => owed = false,
                _ => {}
            }
            outcome
        });
        assert!(!held, "{seed}: {end:?}");
        assert_eq!(owed, end.status == Status::Confirmed, "{seed}: {end:?}");
        assert_eq!(end.reason.is_some(), end.status == Status::Cancelled, "{seed}: {end:?}");
    }
}
