//! The closed loop over UDP.

use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recv, sendmmsg};

use crate::connection::PATIENCE;
use crate::options::Options;
use crate::report::{Recorder, Report, Window};
use crate::wire::Message;

/// What has not come back by then is lost.
const LOST: Duration = Duration::from_millis(300);

struct Socket {
    socket: UdpSocket,
    /// Datagrams that are not back yet.
    awaited: usize,
    began: Instant,
}

impl Socket {
    /// Opens a socket to the server, and checks its first reply byte for byte.
    fn open(options: &Options, message: &Message) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(options.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(&message.request)?;
        let mut reply = vec![0; message.reply.len() + 1];
        let length = socket.recv(&mut reply).context("the first reply")?;
        ensure!(reply[..length] == message.reply, "the reply differs from what was sent");
        socket.set_nonblocking(true)?;
        Ok(Self { socket, awaited: 0, began: Instant::now() })
    }

    fn start(&mut self, message: &Message, depth: usize) -> Result<()> {
        self.began = Instant::now();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(depth, None);
        let parts = vec![[IoSlice::new(&message.request)]; depth];
        let to = vec![None; depth];
        let socket = self.socket.as_raw_fd();
        let sent = sendmmsg(socket, &mut headers, &parts, &to, [], MsgFlags::empty()).context("sending")?.count();
        ensure!(sent == depth, "a socket has no room for {depth} datagrams");
        self.awaited = depth;
        Ok(())
    }
}

pub(crate) fn run(options: &Options) -> Result<Report> {
    let message = Message::new(options.protocol, options.workload);
    let depth = options.workload.depth;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut sockets: Vec<Socket> = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let socket = Socket::open(options, &message)?;
        epoll.add(&socket.socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, index as u64))?;
        sockets.push(socket);
    }
    let mut left = options.messages.map_or(u64::MAX, |messages| messages.div_ceil(depth as u64));
    let mut recorder = Recorder::new()?;
    let mut window = Window::new(options)?;
    let mut events = vec![EpollEvent::empty(); 1024];
    loop {
        let timeout = if options.spin { EpollTimeout::ZERO } else { EpollTimeout::from(100_u8) };
        let count = epoll.wait(&mut events, timeout)?;
        for event in &events[..count] {
            let socket = &mut sockets[usize::try_from(event.data())?];
            if receive(socket, message.reply.len())? {
                recorder.batch(depth, socket.began.elapsed());
                if options.messages.is_none() {
                    socket.start(&message, depth)?;
                }
            }
        }
        let at_rest = sockets.iter().all(|socket| socket.awaited == 0);
        if at_rest {
            for socket in sockets.iter_mut().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                left -= 1;
                socket.start(&message, depth)?;
            }
        }
        let now = Instant::now();
        for socket in sockets.iter_mut().filter(|socket| socket.awaited > 0 && now - socket.began > LOST) {
            recorder.lost += socket.awaited as u64;
            ensure!(recorder.lost < 100_000, "next to nothing comes back");
            socket.start(&message, depth)?;
        }
        if window.begins(now)? {
            recorder.clear();
        }
        if window.is_over(now) || (left == 0 && at_rest && sockets.iter().all(|socket| socket.awaited == 0)) {
            let (took, used) = window.end(now)?;
            return recorder.report(took, used);
        }
    }
}

/// Takes what has come back; whether the batch is complete with it.
fn receive(socket: &mut Socket, length: usize) -> Result<bool> {
    while socket.awaited > 0 {
        match recv(socket.socket.as_raw_fd(), &mut [], MsgFlags::MSG_TRUNC) {
            Ok(received) => {
                ensure!(received == length, "a reply of {received} bytes");
                socket.awaited -= 1;
            }
            Err(Errno::EAGAIN) => return Ok(false),
            Err(error) => return Err(error).context("receiving"),
        }
        if socket.awaited == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
