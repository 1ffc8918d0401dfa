//! Many functions on one box.

use e2e::actors::levels;
use e2e::many::many;

/// The count that is promised is driven by `e2e --long`.
const COUNT: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_functions_at_zero_each_answer_their_first_call() {
    let measured = many(levels()[0], COUNT).await;
    e2e::report(format_args!("{COUNT} functions at zero: {measured:?}"));
}
