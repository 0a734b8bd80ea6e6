// Runs the cases of cases.json on anything with the browsers' WebSocket interface, in Node or in a page: so it imports nothing.

/// `servers` are the URLs by variant, `variants` what the client offers in each of its own: `{ name: { options, agreed } }`, where
/// `agreed` has what must come of it with each of the server's. `open(url, subprotocols, options)` gives a WebSocket.
export async function drive({ cases, servers, variants, can, open, extras = {}, report }) {
  cases = cases.filter(({ needs = [] }) => needs.every((need) => can.includes(need)));
  let uncompressed = false;
  for (const [offer, { options, agreed }] of Object.entries(variants)) {
    for (const [variant, base] of Object.entries(servers)) {
      const expected = agreed[variant] ?? "none";
      const count = expected === "none" && uncompressed ? 1 : cases.length;   // what is not compressed once, whatever was offered
      uncompressed ||= expected === "none";
      for (const wanted of cases.slice(0, count)) {
        const name = `${offer} to ${variant}: ${wanted.name}`;
        const talk = new Talk(wanted, base, (url, subprotocols) => open(url, subprotocols, options), extras);
        try {
          await within(20_000, talk.run(expected, can));
          report(`ok ${name}`);
        } catch (error) {
          report(`FAIL ${name}: ${error?.stack ?? error}`);
          talk.socket?.close();
        }
      }
    }
  }
}

let talks = 0;

/// One case.
class Talk {
  constructor(wanted, base, open, extras) {
    Object.assign(this, { wanted, base, open, extras });
    this.id = `${Date.now()}-${talks += 1}`;
  }

  async run(agreed, can) {
    const { wanted, extras } = this;
    const path = wanted.command ? "/command" : wanted.path ?? "/echo";
    const socket = this.socket = this.open(`${this.base}${path}?id=${this.id}`, wanted.offer ?? []);
    socket.addEventListener("error", () => {});            // a close event follows
    const [opened, closed, messages] = [event(socket, "open"), event(socket, "close"), new Inbox(socket)];
    if (wanted.status) {
      same("the status", await (extras.status?.(socket) ?? wanted.status), wanted.status);
      return same("the close code", (await closed).code, 1006);
    }
    await Promise.race([opened, closed.then(({ code }) => { throw new Error(`closed with ${code} before it opened`); })]);
    same("the subprotocol", socket.protocol, wanted.subprotocol ?? "");
    same("the compression", short(extras.extensions?.(socket) ?? socket.extensions), agreed);
    await this.converse(socket, messages);

    const ends = wanted.close === undefined ? [1000, "done"] : wanted.close;
    if (ends) socket.close(...(ends[0] === 1005 ? [] : ends));
    const { code, reason } = await closed;
    const told = wanted.closed ?? [ends[0], null];               // the reason need not be repeated
    agree("what the client is told", [code, reason], told);
    same("messages left over", messages.left, 0);
    await this.lookBack(wanted.seen ?? ends ?? [told[0], null], agreed, can);
  }

  async converse(socket, messages) {
    const { wanted, extras } = this;
    if (wanted.ping !== undefined) same("the pong", await extras.ping(socket, wanted.ping), wanted.ping);
    if (wanted.command) socket.send(JSON.stringify(wanted.command));
    if (wanted.answer !== undefined) same("the answer", await messages.next(), wanted.answer);
    if (wanted.idle) await new Promise((resolve) => setTimeout(resolve, wanted.idle));
    const sent = (wanted.messages ?? []).flatMap((message) => Array(message.times ?? 1).fill(made(message)));
    const send = (message) => wanted.fragmented ? extras.fragments(socket, message) : socket.send(message);
    if (wanted.close === null) return sent.forEach(send);        // too big: the answer is a close frame
    if (wanted.pipelined) sent.forEach(send);
    for (const message of sent) {
      if (!wanted.pipelined) send(message);
      same("the echo", await messages.next(), message);
    }
  }

  /// Asks the server how the connection ended there.
  async lookBack(expected, agreed, can) {
    const socket = this.open(`${this.base}/seen?id=${this.id}`, []);
    socket.addEventListener("error", () => {});
    const seen = JSON.parse(await new Inbox(socket).next());
    const closed = event(socket, "close");
    socket.close();
    await closed;
    agree("what the server is told", [seen.code, seen.reason], expected);
    if (!this.wanted.compressible || seen.sent === undefined) return;
    const small = (bytes) => bytes < 100_000;
    same(`whether the ${seen.sent} bytes of the server's were compressed`, small(seen.sent), agreed !== "none");
    const compresses = agreed !== "none" && can.includes("client:compress");
    same(`whether the ${seen.received} bytes of the client's were compressed`, small(seen.received), compresses);
  }
}

/// Messages as they come; binary ones as arrays.
class Inbox {
  constructor(socket) {
    Object.assign(this, { queue: [], waiting: [] });
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      const message = typeof data === "string" ? data : new Uint8Array(data);
      const [resolve] = this.waiting.shift() ?? [];
      if (resolve) resolve(message); else this.queue.push(message);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      for (const [, reject] of this.waiting) reject(new Error(`closed with ${code} ${reason} where a message was awaited`));
    });
  }

  next() {
    if (this.queue.length) return Promise.resolve(this.queue.shift());
    return new Promise((...both) => this.waiting.push(both));
  }

  get left() { return this.queue.length; }
}

const PHRASE = "añ€𝄞";                                   // ten bytes of UTF-8

/// The message that a case describes: text as it is or of so many bytes, binary with a pattern or without.
export function made({ text, binary, random }) {
  if (typeof text === "string") return text;
  if (text !== undefined) return PHRASE.repeat(Math.floor(text / 10)) + "x".repeat(text % 10);
  if (binary !== undefined) return Uint8Array.from({ length: binary }, (_, index) => index % 251);
  let state = 1;
  return Uint8Array.from({ length: random }, () => (state = Math.imul(state, 1103515245) + 12345 >>> 0) >>> 24);
}

/// `Sec-WebSocket-Extensions` in brief: none, or deflate with s and c for whose context is not taken over, S and C for windows.
export function short(extensions) {
  if (!extensions) return "none";
  const [name, ...parameters] = extensions.split(";").map((part) => part.trim());
  const value = (full, brief) => parameters.filter((each) => each.startsWith(full)).map((each) => each.replace(`${full}=`, brief));
  const flag = (full, brief) => parameters.includes(full) ? [brief] : [];
  return [name.replace("permessage-", ""), ...flag("server_no_context_takeover", "s"), ...flag("client_no_context_takeover", "c"),
    ...value("server_max_window_bits", "S"), ...value("client_max_window_bits", "C")].join(" ");
}

const event = (socket, name) => new Promise((resolve) => socket.addEventListener(name, resolve, { once: true }));

async function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not done after ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function same(what, actual, expected) {
  const alike = expected instanceof Uint8Array && actual instanceof Uint8Array
    ? actual.length === expected.length && actual.every((byte, index) => byte === expected[index])
    : actual === expected;
  if (!alike) throw new Error(`${what}: ${brief(actual)}, not ${brief(expected)}`);
}

/// A code and a reason; null stands for any.
function agree(what, actual, expected) {
  expected.forEach((part, index) => { if (part !== null) same(what, actual[index], part); });
}

const brief = (value) => value instanceof Uint8Array ? `${value.length} bytes` : JSON.stringify(value)?.slice(0, 100);
