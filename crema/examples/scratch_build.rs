fn main() {
    let stack = stack::Stack::read(std::path::Path::new("stack.yml"), |_| None).unwrap();
    let store = image::Store::open(std::env::args().nth(1).unwrap()).unwrap();
    let begun = std::time::Instant::now();
    match crema::build::functions(&stack, &store, &daemon::ProcessEnv) { Ok(o) => println!("{o:#?}"), Err(e) => println!("{e}") }
    println!("{:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    for i in store.list().unwrap() { println!("{} {:?}", i.reference, store.unpack(&i).unwrap()); }
    println!("unpack {:?}", begun.elapsed());
}
