//! The operator on its own, in a pod of the cluster it looks after, or beside it with a kubeconfig.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    operator::program::main()
}
