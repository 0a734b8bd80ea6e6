// A client by name: `ws`, `node` (its own WebSocket) or `chromium`. In INTEROP: what the server can and its URLs by variant, as
// `can=THING,… VARIANT=URL …`. Prints a line a case.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { drive } from "./driver.mjs";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const json = async (name) => JSON.parse(await readFile(here(name), "utf8"));

const LIMIT = 1.5 * 1024 * 1024;
const options = { "off": { perMessageDeflate: false }, "default": { perMessageDeflate: { threshold: 0 } },
  "no takeover": { perMessageDeflate: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true } },
  "windows 12 and 13": { perMessageDeflate: { threshold: 0, serverMaxWindowBits: 12, clientMaxWindowBits: 13 } } };

const clients = {
  async ws(work) {
    const { WebSocket } = await import("ws");
    const statuses = new WeakMap();
    await drive({ ...work,
      open(url, subprotocols, options) {
        const socket = new WebSocket(url, subprotocols, { maxPayload: LIMIT, ...options });
        statuses.set(socket, new Promise((resolve) => socket.on("error", ({ message }) => resolve(Number(/response: (\d+)/.exec(message)?.[1])))));
        return socket;
      },
      extras: {
        status: (socket) => statuses.get(socket),
        extensions: (socket) => Object.entries(socket._extensions)
          .map(([name, { params }]) => [name, ...Object.entries(params).map(([key, value]) => value === true ? key : `${key}=${value}`)].join("; ")).join(),
        ping: (socket, payload) => new Promise((resolve) => {
          socket.once("pong", (answer) => resolve(answer.toString()));
          socket.ping(payload);
        }),
        fragments(socket, message) {
          const bytes = Buffer.from(message), third = Math.ceil(bytes.length / 3), binary = typeof message !== "string";
          socket.send(bytes.subarray(0, third), { fin: false, binary });
          socket.ping("between");
          socket.send(bytes.subarray(third, 2 * third), { fin: false, binary });
          socket.send(bytes.subarray(2 * third), { fin: true, binary });
        },
      },
    });
  },

  async node(work) {
    await drive({ ...work, open: (url, subprotocols) => new WebSocket(url, subprotocols) });
  },

  /// The driver runs in a page: only what it reports comes back.
  async chromium({ report, ...work }) {
    const { chromium } = await import("playwright-core");
    const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"];
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: flags });
    try {
      const page = await browser.newPage();
      await page.exposeFunction("report", report);
      await page.goto(Object.values(work.servers)[0].replace("ws:", "http:"));
      await page.addScriptTag({ type: "module", content: `${await readFile(here("driver.mjs"), "utf8")}\nwindow.drive = drive;` });
      await page.waitForFunction(() => window.drive);
      await page.evaluate((work) => window.drive({ ...work, report: window.report, open: (url, subprotocols) => new WebSocket(url, subprotocols) }), work);
    } finally {
      await browser.close();
    }
  },
};

const abilities = {
  ws: ["client:ping", "client:fragments", "client:empty-close", "client:limit", "client:compress"],
  node: ["client:empty-close"],                                 // it receives compressed messages, and sends none
  chromium: ["client:empty-close", "client:compress"],
};

const name = process.argv[2];
const { can, ...servers } = Object.fromEntries(process.env.INTEROP.split(" ").map((pair) => pair.split(/=(.*)/s, 2)));
const { INTEROP_OFFERS, INTEROP_CASES = "" } = process.env;
const order = ["plain", "shared", "takeover", "windows"];
const agreed = Object.entries((await json("agreed.json"))[name]).filter(([offer]) => offer === (INTEROP_OFFERS ?? offer));
const variants = Object.fromEntries(agreed.map(([offer, agreed]) =>
  [offer, { options: options[offer], agreed: Object.fromEntries(order.map((variant, index) => [variant, agreed[index]])) }]));
const cases = (await json("cases.json")).filter((wanted) => wanted.name.includes(INTEROP_CASES));
let failed = 0;
const report = (line) => { failed += line.startsWith("FAIL"); console.log(line); };
await clients[name]({ cases, servers, variants, can: [...can.split(","), ...abilities[name]], report });
process.exit(failed ? 1 : 0);
