//! Starts and stops the servers.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use load::{Protocol, Usage, Workload};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::contenders::{ALL, Contender, Launch, NATIVE};
use crate::table::Table;
use crate::{Options, build};

/// A server may take so long to stop.
const STOP: Duration = Duration::from_secs(60);

/// What all measurements share.
pub(crate) struct Lab {
    bench_server: PathBuf,
    bare: PathBuf,
    peers: PathBuf,
    /// The programs of `native/` that could be built, by name.
    native: HashMap<&'static str, PathBuf>,
    /// The others, each with the reason.
    pub(crate) left_out: Vec<String>,
    only: Vec<String>,
    protocol: Option<Protocol>,
    workloads: Vec<Workload>,
    pub(crate) quick: bool,
    /// Rounds of a measurement of times.
    pub(crate) rounds: usize,
    /// How long each server is measured in each round.
    pub(crate) slice: Duration,
    /// Connections that a process may have.
    pub(crate) descriptors: usize,
}

/// A server that is running.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    process: Child,
    /// Kept, so that it can go on printing.
    _output: BufReader<ChildStdout>,
}

impl Lab {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?; // the servers inherit it
        let known = |name: &String| ALL.iter().any(|it| it.name.starts_with(name));
        if let Some(name) = options.only.iter().find(|name| !known(name)) {
            bail!("there is no server `{name}`; some are `bare mio`, `tokio`, `fastwebsockets`");
        }
        let (mut native, mut left_out) = (HashMap::new(), Vec::new());
        for program in NATIVE {
            match build::native(program) {
                Ok(path) => drop(native.insert(program, path)),
                Err(error) => left_out.push(format!("{program} ({error:#})")),
            }
        }
        left_out.iter().for_each(|it| eprintln!("left out: {it}"));
        Ok(Self {
            bench_server: options.server.clone().map_or_else(|| build::example("bench_server"), Ok)?,
            bare: build::peers("bare")?,
            peers: build::peers("peers")?,
            native,
            left_out,
            only: options.only.clone(),
            protocol: options.protocol,
            workloads: options.workload.clone(),
            quick: options.quick,
            rounds: if options.quick { 1 } else { 7 },
            slice: Duration::from_millis(if options.quick { 50 } else { 300 }),
            descriptors: usize::try_from(hard).unwrap_or(usize::MAX),
        })
    }

    /// The servers of a protocol that are asked for, Switchboard first.
    pub(crate) fn contenders(&self, protocol: Protocol) -> Vec<Contender> {
        let asked = |it: &&Contender| {
            matches!(it.launch, Launch::Switchboard(_))
                || self.only.is_empty()
                || self.only.iter().any(|name| it.name.starts_with(name))
        };
        let here = self.protocol.is_none_or(|only| only == protocol);
        let built = |it: &&Contender| match it.launch {
            Launch::Native(program, _) => self.native.contains_key(program),
            _ => true,
        };
        ALL.iter().filter(|it| here && it.protocol == protocol).filter(asked).filter(built).copied().collect()
    }

    /// Those of `usual`, unless others are asked for.
    pub(crate) fn workloads(&self, usual: &[&str]) -> Result<Vec<Workload>> {
        match self.workloads.is_empty() {
            true => usual.iter().map(|text| text.parse()).collect(),
            false => Ok(self.workloads.clone()),
        }
    }

    /// A table for each of `protocols`, made of the servers that are asked for, all of which are running.
    pub(crate) fn tables(
        &self,
        protocols: &[Protocol],
        mut measure: impl FnMut(Protocol, &[Server]) -> Result<Table>,
    ) -> Result<String> {
        let mut text = String::new();
        for &protocol in protocols {
            let servers = self.contenders(protocol).iter().map(|it| self.start(it)).collect::<Result<Vec<_>>>()?;
            if !servers.is_empty() {
                text += &measure(protocol, &servers)?.to_string();
            }
        }
        Ok(text)
    }

    /// Starts a server on the first processor, and moves to the second.
    pub(crate) fn start(&self, contender: &Contender) -> Result<Server> {
        let server = self.start_under(contender, &[]);
        pin(1)?;
        server
    }

    /// Starts a server under a tool, with the tool's command line, on this thread's own processor: the load has its
    /// turn when the server sleeps.
    pub(crate) fn start_under(&self, contender: &Contender, tool: &[OsString]) -> Result<Server> {
        let (program, arguments) = match contender.launch {
            Launch::Switchboard(arguments) => (self.bench_server.clone(), arguments),
            Launch::Example(arguments) => (build::example("server")?, arguments),
            Launch::Bare(server) => (self.bare.clone(), &[server, "0"][..]),
            Launch::Peer(server) => (self.peers.clone(), &[server, "0"][..]),
            Launch::Native(program, server) => {
                (self.native.get(program).context("it is not built")?.clone(), &[server, "0"][..])
            }
        };
        pin(0)?;
        let mut line = tool.to_vec();
        line.push(program.into());
        line.extend(arguments.iter().map(OsString::from));
        let tool_or_server = || format!("starting {:?}", line[0]);
        let mut process = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A server's complaints are of interest; what a tool says is not.
            .stderr(if tool.is_empty() { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .with_context(tool_or_server)?;
        let mut output = BufReader::new(process.stdout.take().context("no output")?);
        let mut text = String::new();
        loop {
            text.clear();
            if output.read_line(&mut text)? == 0 {
                let _ = process.kill();
                bail!("{} ended before it listened ({})", contender.name, process.wait()?);
            }
            if let Some((what, address)) = text.trim_end().split_once("listening on ") {
                if matches!(contender.launch, Launch::Example(_)) && what != "websocket " {
                    continue; // it has others
                }
                let address = address.parse().with_context(|| format!("the address of {}", contender.name))?;
                return Ok(Server {
                    name: contender.name,
                    protocol: contender.protocol,
                    address,
                    process,
                    _output: output,
                });
            }
        }
    }

    /// Runs `measure` for each server in turn, as many rounds as there are, every second one backwards: what disturbs
    /// the machine for a while disturbs all of them. The results are by server and round; a server that fails has none.
    pub(crate) fn rounds<T>(
        &self,
        servers: &[Server],
        what: &str,
        mut measure: impl FnMut(&Server) -> Result<T>,
    ) -> Vec<Option<Vec<T>>> {
        let mut results: Vec<Option<Vec<T>>> = servers.iter().map(|_| Some(Vec::new())).collect();
        for round in 0..self.rounds {
            let mut order: Vec<usize> = (0..servers.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let Some(result) = &mut results[index] else { continue };
                match measure(&servers[index]) {
                    Ok(value) => result.push(value),
                    Err(error) => {
                        eprintln!("{}, {what}: {error:#}", servers[index].name);
                        results[index] = None;
                    }
                }
            }
        }
        results
    }
}

/// This thread's processor, and that of the processes that it starts, where there are several.
pub(crate) fn pin(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    match sched_setaffinity(Pid::from_raw(0), &set) {
        Err(nix::errno::Errno::EINVAL) => Ok(()), // there is none
        result => Ok(result?),
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where a tool was started in its place, the process that the tool has started.
    pub(crate) fn traced(&self) -> Result<Option<Pid>> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid()))?;
        Ok(children.split_whitespace().next().map(str::parse).transpose()?.map(Pid::from_raw))
    }

    /// Waits until it has nothing left to do.
    pub(crate) fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + STOP;
        let mut before = Usage::of(self.pid())?.running;
        loop {
            thread::sleep(Duration::from_millis(50));
            let now = Usage::of(self.pid())?.running;
            if now.saturating_sub(before) < 200_000 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{} is never at rest", self.name);
            before = now;
        }
    }

    /// Ends it by SIGTERM and waits for its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let itself = Pid::from_raw(self.pid().try_into()?);
        kill(self.traced()?.unwrap_or(itself), Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP;
        while self.process.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "{} does not stop", self.name);
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A tool that is killed leaves what it has started.
        if let Ok(Some(traced)) = self.traced() {
            let _ = kill(traced, Signal::SIGKILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_server_that_a_tool_has_started() -> Result<()> {
        let mut process = Command::new("sh").args(["-c", "sleep 1000; :"]).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(process.stdout.take().context("it is piped")?);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let server = Server { name: "sleep", protocol: Protocol::Tcp, address, process, _output: output };
        let deadline = Instant::now() + STOP;
        let traced = loop {
            if let Some(traced) = server.traced()? {
                break traced;
            }
            ensure!(Instant::now() < deadline, "it never starts");
            thread::yield_now();
        };
        drop(server);
        // An orphan's status stays until somebody asks for it.
        let status = || fs::read_to_string(format!("/proc/{traced}/stat"));
        while status().is_ok_and(|status| !status.contains(") Z ")) {
            ensure!(Instant::now() < deadline, "it is still there");
            thread::yield_now();
        }
        Ok(())
    }
}
