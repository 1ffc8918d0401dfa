//! A program is started, or why not is said.

use crate::room::{Room, levels, run};
use sandbox::Level;

#[tokio::test]
async fn a_program_runs_inside_its_image() {
    let Some(room) = Room::new("a_program_runs_inside_its_image") else { return };
    for level in levels(Level::Userns) {
        let ended = run(&room.script(level, "busybox id -u; busybox ls /; echo $$")).await;
        assert!(ended.status.success(), "{level}: {}", ended.stderr);
        assert_eq!(ended.stdout, "2000012345\nbin\ndev\nproc\ntmp\n1\n", "{level}");
    }
}
