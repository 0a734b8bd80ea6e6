//! Both sides of the connection without sockets, and which files may be had.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use indicatif::ProgressBar;
use switchboard::testkit::{Harness, Script, check_conformance};
use switchboard::{CloseReason, Limits};

use super::{Directory, content, digest};
use crate::fetching::{Download, Fetching};
use crate::files;
use crate::sending::Sending;

fn sending(directory: &Directory) -> Sending {
    Sending::new(&Rc::from(&*directory.0))
}

/// What the server answers to a request, to the end.
fn answer(directory: &Directory, request: &str) -> Vec<u8> {
    let mut harness = Harness::new(sending(directory));
    harness.feed(format!("{request}\n").as_bytes());
    let sent = harness.take_sent();
    assert!(matches!(harness.close_reason(), Some(CloseReason::Local)), "{request}: {:?}", harness.close_reason());
    sent
}

/// The whole answer with a file from an offset on.
fn expected(file: &[u8], offset: usize) -> Vec<u8> {
    let head = format!("OK {offset} {}\n", file.len());
    [head.as_bytes(), &file[offset..], format!("SHA-256 {}\n", digest(file)).as_bytes()].concat()
}

#[test]
fn the_server_conforms() {
    let directory = Directory::new();
    let file = content(500, 0);
    directory.write("a file", &file);
    for (request, answer) in [
        ("GET 0 - a file\n".to_owned(), expected(&file, 0)),
        (format!("GET 450 {} a file\n", digest(&file[..450])), expected(&file, 450)),
        ("GET 0 - ../a file\n".to_owned(), b"ERROR ../a file: a name is parts below the directory\n".to_vec()),
        ("nonsense\n".to_owned(), b"ERROR a request is: GET offset digest name\n".to_vec()),
    ] {
        let script = Script::new().send(request).expect_sent(answer);
        println!("{}", check_conformance(|| sending(&directory), &script));
    }
}

#[test]
fn the_client_conforms() {
    let directory = Directory::in_memory();
    let file = content(300, 0);
    let fetching = || {
        let _ = fs::remove_file(directory.path("got.part")); // of the run before
        let download = Download::new("name", &directory.path("got"), 1000, ProgressBar::hidden()).unwrap();
        Fetching::new(&Rc::new(RefCell::new(download)))
    };
    let script = Script::new().expect_sent("GET 0 - name\n").send(expected(&file, 0));
    println!("{}", check_conformance(fetching, &script));
    assert_eq!(directory.read("got"), file);
    check_conformance(fetching, &Script::new().send("ERROR there is none\n"));
    check_conformance(fetching, &Script::new().send("OK 0 300\n").send(&file).send("ERROR it changed\n"));
}

#[test]
fn a_file_is_sent_from_where_the_client_is_if_that_is_its_beginning() {
    let directory = Directory::new();
    let file = content(300_000, 0);
    directory.write("f", &file);
    for offset in [1, 65_536, 200_000, 300_000] {
        let request = format!("GET {offset} {} f", digest(&file[..offset]));
        assert!(answer(&directory, &request) == expected(&file, offset), "{offset}");
        // Another beginning, or none so long: all of it.
        for offset in [offset, 300_001] {
            let request = format!("GET {offset} {} f", digest(b"something else"));
            assert!(answer(&directory, &request) == expected(&file, 0), "{offset}");
        }
    }
}

#[test]
fn a_long_comparison_shows_signs_of_life_and_the_client_knows_them() {
    let directory = Directory::new();
    let file = content(9 << 20, 0);
    directory.write("f", &file);
    let request = format!("GET {} {} f", file.len(), digest(&file));
    let said = answer(&directory, &request);
    assert_eq!(said, [b"WAIT\nWAIT\n", &*expected(&file, file.len())].concat());
    let (directory, download, _) = fetched(b"abc", &[b"WAIT\nWAIT\n", &expected(b"abcd", 3)]);
    assert_eq!((&download.borrow().ended, &*directory.read("got")), (&Some(Ok(())), &b"abcd"[..]));
}

#[test]
fn a_client_that_takes_nothing_holds_little_of_the_file() {
    let directory = Directory::new();
    let file = content(2 << 20, 0);
    directory.write("f", &file);
    let mut harness = Harness::new(sending(&directory));
    harness.set_window(0);
    harness.feed(b"GET 0 - f\n");
    let mut sent = Vec::new();
    while harness.is_open() {
        let held = harness.core().held_bytes();
        assert!(held <= Limits::default().high_water, "{held} bytes held");
        harness.set_window(100_000);
        sent.extend(harness.take_sent());
    }
    assert!(sent == expected(&file, 0));
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_told() {
    let directory = Directory::new();
    let path = directory.write("f", &content(1 << 20, 0));
    let mut harness = Harness::new(sending(&directory));
    harness.set_window(0);
    harness.feed(b"GET 0 - f\n");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    harness.set_window(usize::MAX);
    let sent = harness.take_sent();
    assert!(sent.ends_with(b"ERROR the file changed while it was sent\n"));
    assert_eq!(sent.len(), (1 << 20) + "OK 0 1048576\nERROR the file changed while it was sent\n".len());

    let mut harness = Harness::new(sending(&directory));
    harness.set_window(0);
    harness.feed(b"GET 0 - f\n");
    OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    harness.set_window(usize::MAX);
    assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))));
    assert!(harness.take_sent().len() < 1 << 20, "nothing stands for what is missing");
}

#[test]
fn nothing_outside_of_the_directory_can_be_had() {
    let outside = Directory::new();
    outside.write("secret", b"secret");
    let directory = Directory::new();
    directory.write("deep/down/file", b"found");
    symlink(directory.path("deep"), directory.path("within")).unwrap();
    symlink(&outside.0, directory.path("out")).unwrap();
    symlink(outside.path("secret"), directory.path("link")).unwrap();
    symlink("../..", directory.path("deep/up")).unwrap();
    assert!(Command::new("mkfifo").arg(directory.path("pipe")).status().unwrap().success());
    for name in ["deep/down/file", "deep//down/file", "within/down/file"] {
        let mut text = String::new();
        files::open(&directory.0, name).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "found");
    }
    let sibling = format!("../{}/secret", outside.0.file_name().unwrap().display());
    let absolute = outside.path("secret").display().to_string();
    let inside = directory.path("deep/down/file").display().to_string();
    for name in [
        "",
        ".",
        "..",
        "/",
        &sibling,
        &absolute,
        &inside,
        "deep/../deep/down/file",
        "./deep/down/file",
        "out/secret",
        "link",
        "deep/up/secret",
        "deep",
        "pipe",
        "nothing",
        "deep/down/file/more",
        "secret\0",
    ] {
        assert!(files::open(&directory.0, name).is_err(), "{name:?}");
        let said = answer(&directory, &format!("GET 0 - {name}"));
        assert!(said.starts_with(b"ERROR ") && !said.windows(6).any(|bytes| bytes == b"secret\n"), "{name:?}");
    }
    assert!(!files::is_plain(Path::new("/etc/passwd")) && !files::is_plain(Path::new("a/../b")));
}

/// A client, what it has already, and what becomes of it when a server answers so.
fn fetched(part: &[u8], said: &[&[u8]]) -> (Directory, Rc<RefCell<Download>>, Harness) {
    let directory = Directory::new();
    directory.write("got.part", part);
    let download = Download::new("name", &directory.path("got"), 1000, ProgressBar::hidden()).unwrap();
    let download = Rc::new(RefCell::new(download));
    let mut harness = Harness::new(Fetching::new(&download));
    harness.feed(&said.concat());
    (directory, download, harness)
}

#[test]
fn what_is_there_is_completed_and_checked() {
    let file = content(800, 0);
    for have in [0, 1, 799, 800] {
        let (directory, download, mut harness) = fetched(&file[..have], &[&expected(&file, have)]);
        let known = if have == 0 { "-".to_owned() } else { digest(&file[..have]) };
        assert_eq!(harness.take_sent(), format!("GET {have} {known} name\n").as_bytes());
        assert_eq!(download.borrow().ended, Some(Ok(())));
        assert_eq!(directory.read("got"), file);
        assert!(!directory.path("got.part").exists());
    }
}

#[test]
fn what_is_there_of_another_file_is_given_up() {
    let file = content(500, 0);
    let (directory, download, _) = fetched(b"something else, and longer than needed", &[&expected(&file, 0)]);
    assert_eq!(download.borrow().ended, Some(Ok(())));
    assert_eq!(directory.read("got"), file);
}

#[test]
fn a_wrong_digest_is_noticed_and_nothing_is_kept() {
    let (directory, download, _) =
        fetched(b"", &[b"OK 0 5\n", b"hullo", b"SHA-256 ", digest(b"hello").as_bytes(), b"\n"]);
    let ended = download.borrow().ended.clone();
    assert_eq!(ended, Some(Err("the digest is another: what came is not what was sent".to_owned())));
    assert!(!directory.path("got").exists() && directory.read("got.part").is_empty());
}

#[test]
fn a_server_that_makes_no_sense_ends_the_attempt_and_keeps_what_came() {
    for said in [
        &b"HELLO\n"[..],
        b"OK\n",
        b"OK 0\n",
        b"OK 4 3\n",
        b"OK 1 100\n",
        b"OK -1 5\n",
        b"OK 0 x\n",
        b"\n",
        b"\xff\n",
        b"SHA-256 abc\n",
        &[b'x'; 9000],
        b"OK 3 3\nwhat?\n",
        b"OK 3 3\nOK 3 3\n",
        b"OK 3 6\nabcERROR it changed\n",
    ] {
        let (directory, download, mut harness) = fetched(b"abc", &[said]);
        assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))), "{}", said.escape_ascii());
        assert_eq!(download.borrow().ended, None, "{}", said.escape_ascii());
        assert!(directory.read("got.part").starts_with(b"abc") && !directory.path("got").exists());
    }
    let (_, download, _) = fetched(b"", &[b"ERROR \x1b[2Jno such\tfile\n"]);
    assert_eq!(download.borrow().ended, Some(Err("the server says:  [2Jno such file".to_owned())));
    for said in [&b"OK 0 1001\n"[..], b"ERROR no such file\n"] {
        let (_, download, _) = fetched(b"", &[said]);
        assert!(matches!(download.borrow().ended, Some(Err(_))), "{}", said.escape_ascii());
    }
}
