// The server under test, as a child process.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { within } from "./wait.mjs";

const NAMES = ["tcp-echo", "udp-echo", "heartbeat", "websocket"];
const running = new Set();
process.on("exit", () => { for (const server of running) server.child.kill("SIGKILL"); });

export class Server {
  /// Starts the binary, on `addresses` (by name) where given and on free ports otherwise, and waits until it is ready.
  static async start({ addresses = {}, options = [] } = {}) {
    const listen = NAMES.flatMap((name) => [`--${name}`, addresses[name] ?? "127.0.0.1:0"]);
    return Server.spawn(process.env.SERVER_BINARY, [...listen, ...options]);
  }

  /// Starts any example that tells its addresses as this one does, and waits until it is ready.
  static async spawn(binary, options) {
    const server = new Server(spawn(binary, options, { stdio: ["ignore", "pipe", "pipe"] }));
    await within(20_000, "the server to be ready", server.ready);
    return server;
  }

  constructor(child) {
    this.child = child;
    this.lines = [];
    this.errors = "";
    this.addresses = {};
    running.add(this);
    child.stderr.setEncoding("utf8").on("data", (text) => { this.errors += text; });
    this.exited = new Promise((resolve) => child.on("exit", (code, signal) => { running.delete(this); resolve({ code, signal }); }));
    this.ready = new Promise((resolve, reject) => {
      child.on("error", reject);
      createInterface({ input: child.stdout }).on("line", (line) => {
        this.lines.push(line);
        const [, name, address] = /^(\S+) listening on (\S+)$/.exec(line) ?? [];
        if (name) this.addresses[name] = address;
        if (line === "ready") resolve();
      });
      this.exited.then(({ code }) => reject(new Error(`the server exited with ${code}: ${this.errors}`)));
    });
    this.ready.catch(() => {});                           // whoever waits for it has been told
  }

  port(name) { return Number(this.addresses[name].split(":").pop()); }
  get url() { return `http://${this.addresses.websocket ?? this.addresses.web}/`; }

  /// Sends the signal and gives `{ code, signal }` once the process has gone.
  async stop(signal = "SIGTERM", deadline = 8_000) {
    this.child.kill(signal);
    return within(deadline, `the server to exit after ${signal}`, this.exited);
  }
}
