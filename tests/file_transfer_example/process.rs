//! The program: transfers that are whole, and those that are interrupted.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use super::{Directory, content, digest};
use crate::support::{DEADLINE, Finished, Program, now};

/// A server of a directory.
fn served(directory: &Directory, address: &str) -> (Program, SocketAddr) {
    let path = directory.0.display().to_string();
    let program = Program::start("file_transfer", &["serve", &path, "--address", address]);
    let line = program.line();
    let address = line.strip_prefix(&format!("serving {path} on ")).unwrap_or_else(|| panic!("{line:?}"));
    let address = address.parse().unwrap();
    (program, address)
}

/// Begins to get a file into `into`, as `got`.
fn getting(address: SocketAddr, name: &str, into: &Directory) -> Program {
    let (source, output) = (format!("{address}/{name}"), into.path("got").display().to_string());
    Program::start("file_transfer", &["get", &source, "--output", &output])
}

/// Gets it; what was said on the standard error meanwhile.
fn get(address: SocketAddr, name: &str, into: &Directory) -> Vec<String> {
    let Finished { status, stdout, stderr } = getting(address, name, into).finish();
    assert_eq!((status.code(), stdout), (Some(0), vec![into.path("got").display().to_string()]), "{stderr:?}");
    assert!(!into.path("got.part").exists());
    stderr
}

/// Stands between a client and a server, and passes on so many bytes of the server's.
struct Between(TcpListener);

/// A connection of which no more is passed on.
struct Stopped {
    request: String,
    passed: u64,
    _ends: (TcpStream, TcpStream),
}

impl Between {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn pass(&self, server: SocketAddr, most: u64) -> Stopped {
        let (client, _) = self.0.accept().unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let server = TcpStream::connect(server).unwrap();
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut request = String::new();
        BufReader::new(&client).read_line(&mut request).unwrap();
        (&server).write_all(request.as_bytes()).unwrap();
        let passed = std::io::copy(&mut (&server).take(most), &mut &client).unwrap();
        Stopped { request, passed, _ends: (client, server) }
    }
}

impl Stopped {
    /// From where on the client asked.
    fn offset(&self) -> u64 {
        self.request.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[test]
fn files_arrive_whole() {
    let (directory, into) = (Directory::new(), Directory::new());
    let (_server, address) = served(&directory, "127.0.0.1:0");
    for (name, len) in [("large", 3_000_000), ("with spaces/and ümlaut", 70_000), ("one", 1), ("empty", 0)] {
        let file = content(len, 0);
        directory.write(name, &file);
        assert!(get(address, name, &into).is_empty());
        assert!(into.read("got") == file, "{name}");
    }
}

#[test]
fn a_transfer_goes_on_by_itself_when_the_server_was_killed_and_started_again() {
    let (directory, into, between) = (Directory::new(), Directory::new(), Between::new());
    let file = content(3_000_000, 0);
    directory.write("f", &file);
    let (server, address) = served(&directory, "127.0.0.1:0");
    let mut client = getting(between.address(), "f", &into);
    let stopped = between.pass(address, 1_000_000);
    assert_eq!((stopped.offset(), stopped.passed), (0, 1_000_000));
    server.signal(SIGKILL);
    drop((server, stopped));
    let (_server, _) = served(&directory, &address.to_string());
    let second = between.pass(address, u64::MAX);
    let offset = second.offset();
    assert!(offset > 900_000 && offset < 1_000_000, "{offset}");
    assert_eq!(second.request, format!("GET {offset} {} f\n", digest(&file[..usize::try_from(offset).unwrap()])));
    assert!(second.passed < 3_000_000 - offset + 200);
    let Finished { status, stderr, .. } = client.finish();
    assert_eq!((status.code(), stderr.len()), (Some(0), 1), "{stderr:?}");
    assert!(into.read("got") == file);
}

#[test]
fn a_client_that_was_killed_goes_on_where_it_was() {
    let (directory, into, between) = (Directory::new(), Directory::new(), Between::new());
    let file = content(3_000_000, 0);
    directory.write("f", &file);
    let (_server, address) = served(&directory, "127.0.0.1:0");
    let mut client = getting(between.address(), "f", &into);
    let stopped = between.pass(address, 1_000_000);
    let end = now() + DEADLINE;
    while fs::metadata(into.path("got.part")).map_or(0, |about| about.len()) == 0 {
        assert!(now() < end, "nothing is kept");
        thread::yield_now();
    }
    client.signal(SIGKILL);
    client.finish();
    let kept = into.read("got.part").len() as u64;
    drop(stopped);
    let client = thread::spawn({
        let address = between.address();
        move || {
            let stderr = get(address, "f", &into);
            (into.read("got"), stderr)
        }
    });
    let second = between.pass(address, u64::MAX);
    assert_eq!(second.offset(), kept);
    drop(second);
    let (got, stderr) = client.join().unwrap();
    assert!(got == file && stderr.is_empty());
}

#[test]
fn a_part_that_was_damaged_or_is_of_another_version_is_noticed() {
    let (directory, into) = (Directory::new(), Directory::new());
    let (_server, address) = served(&directory, "127.0.0.1:0");
    let file = content(200_000, 0);
    directory.write("f", &file);
    let mut damaged = file[..100_000].to_vec();
    damaged[50_000] ^= 1;
    let of_another = content(150_000, 1);
    let too_long = [&*file, b"more"].concat();
    for part in [damaged, of_another, too_long] {
        into.write("got.part", &part);
        let said = get(address, "f", &into);
        assert_eq!(said, ["what is there is not the beginning of the file: starting again"]);
        assert!(into.read("got") == file);
    }
    into.write("got.part", &file[..100_000]);
    assert!(get(address, "f", &into).is_empty(), "what is right is not got again");
    directory.write("f", &content(200_000, 2));
    into.write("got.part", &file[..100_000]);
    assert_eq!(get(address, "f", &into).len(), 1);
    assert!(into.read("got") == content(200_000, 2));
}

#[test]
fn nothing_outside_of_the_directory_is_served() {
    let directory = Directory::new();
    let (_server, address) = served(&directory, "127.0.0.1:0");
    for name in ["../secret", "/etc/passwd", "a/../../secret", "."] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("GET 0 - {name}\n").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, format!("ERROR {name}: a name is parts below the directory\n"));
        // The client does not even ask.
        let Finished { status, .. } = Program::start("file_transfer", &["get", &format!("{address}/{name}")]).finish();
        assert_eq!(status.code(), Some(2), "{name}");
    }
}

#[test]
fn a_file_that_is_not_there_or_too_large_is_told_and_not_tried_again() {
    let (directory, into) = (Directory::new(), Directory::new());
    let (_server, address) = served(&directory, "127.0.0.1:0");
    let Finished { status, stderr, .. } = getting(address, "nothing", &into).finish();
    assert_eq!((status.code(), stderr.len()), (Some(1), 1), "{stderr:?}");
    assert!(stderr[0].starts_with("error: the server says: nothing: "), "{stderr:?}");
    directory.write("f", &[0; 2000]);
    let (source, output) = (format!("{address}/f"), into.path("got").display().to_string());
    let mut client = Program::start("file_transfer", &["get", &source, "-o", &output, "--max-size", "1kB"]);
    let Finished { status, stderr, .. } = client.finish();
    assert_eq!(status.code(), Some(1));
    assert_eq!(stderr, ["error: the file has 2000 bytes, 1000 allowed"]);
}

#[test]
fn a_server_that_is_not_there_is_given_up() {
    let into = Directory::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // and closed again
    let output = into.path("got").display().to_string();
    let mut client = Program::start("file_transfer", &["get", &format!("{nobody}/f"), "-o", &output, "--retries", "1"]);
    let Finished { status, stderr, .. } = client.finish();
    assert_eq!((status.code(), stderr.len()), (Some(1), 3), "{stderr:?}");
    assert!(stderr[2].starts_with("error: given up: could not connect: "), "{stderr:?}");
}

#[test]
fn two_processes_do_not_write_to_the_same_part() {
    let (directory, into, between) = (Directory::new(), Directory::new(), Between::new());
    directory.write("f", &[1; 100]);
    let (_server, address) = served(&directory, "127.0.0.1:0");
    let mut first = getting(between.address(), "f", &into);
    let stopped = between.pass(address, 50);
    let Finished { status, stderr, .. } = getting(address, "f", &into).finish();
    assert_eq!((status.code(), stderr.len()), (Some(1), 1), "{stderr:?}");
    assert!(stderr[0].starts_with(&format!("error: {}", into.path("got.part").display())), "{stderr:?}");
    drop(stopped);
    drop(between.pass(address, u64::MAX));
    assert_eq!(first.finish().status.code(), Some(0));
}

#[test]
fn a_transfer_under_way_ends_after_a_signal() {
    let (directory, into, between) = (Directory::new(), Directory::new(), Between::new());
    let file = content(3_000_000, 0);
    directory.write("f", &file);
    let (mut server, address) = served(&directory, "127.0.0.1:0");
    let mut client = getting(between.address(), "f", &into);
    let (client_end, _) = between.0.accept().unwrap();
    let server_end = TcpStream::connect(address).unwrap();
    let mut request = String::new();
    BufReader::new(&client_end).read_line(&mut request).unwrap();
    (&server_end).write_all(request.as_bytes()).unwrap();
    server_end.peek(&mut [0]).unwrap(); // it is being sent
    server.signal(SIGTERM);
    while TcpStream::connect(address).is_ok() {} // until it drains
    std::io::copy(&mut &server_end, &mut &client_end).unwrap();
    drop((server_end, client_end));
    assert_eq!(client.finish().status.code(), Some(0));
    assert!(into.read("got") == file);
    let Finished { status, stdout, .. } = server.finish();
    assert_eq!(status.code(), Some(0));
    assert!(stdout[0].starts_with("stopped: ") && stdout[0].ends_with(" 0 cut off"), "{stdout:?}");
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["serve", ".", "--no-such-flag"][..], "--no-such-flag"),
        (&["serve"], "<DIRECTORY>"),
        (&["get", "localhost:80"], "/NAME"),
        (&["get", "localhost/name"], "localhost"),
        (&["get", "localhost:80/"], "below the directory"),
        (&["get", "localhost:80/f", "--max-size", "much"], "much"),
        (&["put"], "put"),
    ] {
        let Finished { status, stdout, stderr } = Program::start("file_transfer", arguments).finish();
        assert_eq!((status.code(), stdout), (Some(2), vec![]), "{arguments:?}");
        let said = stderr.join("\n");
        assert!(said.starts_with("error: ") && said.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn what_cannot_be_served_is_told_in_one_line_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, why) in [
        (&["serve", ".", "--address", &address][..], format!("error: cannot listen on {address}: ")),
        (&["serve", "/no/such/directory"], "error: /no/such/directory: ".to_owned()),
        (&["serve", "/dev/null"], "error: /dev/null: ".to_owned()),
    ] {
        let Finished { status, stdout, stderr } = Program::start("file_transfer", arguments).finish();
        assert_eq!((status.code(), stdout, stderr.len()), (Some(1), vec![], 1), "{arguments:?}");
        assert!(stderr[0].starts_with(&why), "{stderr:?}");
    }
}

#[test]
fn help_names_the_commands_and_their_defaults() {
    for (arguments, told) in [(&["--help"][..], "serve"), (&["get", "--help"], "[default: 1TiB]")] {
        let Finished { status, stdout, .. } = Program::start("file_transfer", arguments).finish();
        assert_eq!(status.code(), Some(0));
        assert!(stdout.join("\n").contains(told), "{stdout:?}");
    }
}
