//! A function that serves TCP in a network of its own, reached by the agent there.

use crate::stage::{Function, Stage};
use provider::Address;
use provider::memory::Script;
use rustix::cmsg_space;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg, socket};
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

#[tokio::test]
async fn a_port_inside_is_called_as_any_other_and_a_lost_agent_is_named() {
    let stage = Stage::new().await;
    let (dir, function) = (tempfile::tempdir().unwrap(), Function::ok().await);
    let agent = dir.path().join("agent");
    let listener = UnixListener::bind(&agent).unwrap();
    // One socket of the test's own network, and no second one.
    let giving = std::thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        let mut byte = [0];
        caller.read_exact(&mut byte).unwrap();
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let lent = [socket.as_fd()];
        let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        assert!(control.push(SendAncillaryMessage::ScmRights(&lent)));
        sendmsg(&caller, &[IoSlice::new(&byte)], &mut control, SendFlags::empty()).unwrap();
    });
    let port = function.address.port();
    stage.script("f", Script::at(Address::Inside { agent: agent.as_path().into(), port }));
    stage.deploy("f", [].into()).await;
    assert_eq!(stage.send("POST", "/function/f/x", "", "hello").await.body, "fine");
    let arrived = function.only();
    assert_eq!((arrived.line(), arrived.body.as_slice()), ("POST /x HTTP/1.1", b"hello".as_slice()));
    assert_eq!(arrived.header("host"), [format!("127.0.0.1:{port}")]);
    giving.join().unwrap();
    stage.script("g", Script::at(Address::Inside { agent: agent.into(), port }));
    stage.deploy("g", [].into()).await;
    let lost = stage.get("/function/g").await;
    assert_eq!((lost.status, lost.header("retry-after")), (503, vec!["1".into()]), "{lost:?}");
    assert!(lost.body.contains("the agent of the function's network at"), "{lost:?}");
}
