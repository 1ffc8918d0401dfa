//! What is found out about the machine.

use crate::room::{Room, is_root, launcher};
use sandbox::{Level, probe};

#[tokio::test]
async fn the_highest_level_is_found_by_trying() {
    let Some(room) = Room::new("the_highest_level_is_found_by_trying") else { return };
    let found = probe(&launcher(), room.outside()).await;
    match is_root() {
        true => assert_eq!((found.level, found.missing.len()), (Level::Full, 0), "{found:?}"),
        false => {
            assert_eq!(found.level, Level::Userns, "{found:?}");
            let missing = found.missing(Level::Full).unwrap().to_string();
            let said = "isolation full is not possible here: this process is not root; run it as root to have it";
            assert_eq!(missing, said);
        }
    }
    assert_eq!(std::fs::read_dir(room.outside()).unwrap().count(), 1);
}
