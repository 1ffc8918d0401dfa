//! The platform on a Kubernetes, driven from outside: `KUBECONFIG=… cargo test -p e2e --test cluster`.
//!
//! All share one installation, and run one after another in the order below: what breaks the cluster comes last. The
//! environment variables stand in [`e2e::cluster`].
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod bad_input_many;
mod faas_cli;
mod faults;
mod fleet;
#[path = "../faas_cli/judge.rs"]
mod judge;
mod machines;
mod main_job;
mod pairs;
#[path = "../faas_cli/raw.rs"]
mod raw;
#[allow(dead_code, reason = "the replay in process compares bodies too")]
#[path = "../faas_cli/recording.rs"]
mod recording;
mod replay;
mod rollout;
mod stage;
mod stick;

use e2e::cluster::Need;
use e2e::skipped;
use libtest_mimic::{Arguments, Trial};
use stage::{leave, stage};
use std::process::ExitCode;
use tokio::runtime::Runtime;

const FAAS_CLI: Need = Need::Program("faas-cli", "install it from github.com/openfaas/faas-cli");
const MOSQUITTO: Need = Need::Program("mosquitto_pub", "install mosquitto-clients");

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let runtime: &'static Runtime = Box::leak(Box::new(Runtime::new().unwrap()));
    let trials = trials(runtime);
    let is_list = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !is_list {
        runtime.block_on(leave());
    }
    conclusion.exit_code()
}

/// The tests, in their order.
fn trials(runtime: &'static Runtime) -> Vec<Trial> {
    macro_rules! trials {
        ($($module:ident :: $name:ident [$($need:expr),*],)*) => {
            vec![$(trial(concat!(stringify!($module), "::", stringify!($name)), &[$($need),*], || {
                runtime.block_on(async { $module::$name(stage().await).await });
            }),)*]
        };
    }
    let mut trials = trials![
        main_job::the_rest_api_deploys_a_shop_that_works [MOSQUITTO],
        main_job::kubectl_applies_a_shop_that_works [MOSQUITTO],
        main_job::fleets_bundles_render_a_shop_that_works [MOSQUITTO],
        main_job::shops_of_several_namespaces_stay_separate [MOSQUITTO],
        faas_cli::the_real_faas_cli_does_all_of_its_work [FAAS_CLI],
        replay::recorded_requests_of_faas_cli_are_answered_as_it_needs_them [],
        rollout::updates_under_load_fail_no_call [],
        rollout::scaling_under_load_fails_no_call [],
        rollout::a_bad_image_leaves_the_old_version_serving_and_is_named [],
        bad_input::what_cannot_run_says_so_and_heals_itself [],
        bad_input::what_belongs_to_others_is_not_touched [],
        bad_input::annotations_that_are_too_long_are_named [],
        bad_input::what_changes_during_its_deletion_goes [],
        bad_input::a_namespace_deleted_underneath_harms_nobody [],
        bad_input_many::five_hundred_functions_at_once_are_all_ready [],
        pairs::the_lead_moves_when_the_leader_is_killed [],
        pairs::two_gateways_do_nothing_twice [MOSQUITTO],
        faults::killed_pods_lose_nothing_acknowledged [MOSQUITTO],
        faults::calls_go_on_while_the_nodes_agent_is_away [MOSQUITTO, Need::Parts],
        faults::calls_go_on_while_the_api_server_is_away [MOSQUITTO, Need::Parts],
        faults::a_node_that_goes_down_comes_back_with_all_it_had [MOSQUITTO, Need::Reboot],
    ];
    // It brings a platform of its own.
    let stick = "stick::a_stick_brings_a_store_up_and_the_version_before_back";
    trials.push(trial(stick, &[], || {
        runtime.block_on(async {
            leave().await;
            stick::a_stick_brings_a_store_up_and_the_version_before_back().await;
        });
    }));
    trials
}

/// A test that says so when it cannot run.
fn trial(name: &'static str, needs: &[Need], test: impl FnOnce() + Send + 'static) -> Trial {
    let missing = [Need::Cluster].iter().chain(needs).find_map(|need| need.is_missing());
    Trial::test(name, move || {
        match missing {
            Some(why) => skipped(name, &why),
            None => test(),
        }
        Ok(())
    })
}
