// The page, seen the way its reader sees it.
import assert from "node:assert/strict";
import { until } from "./wait.mjs";

// What Chromium says of a WebSocket that cannot connect. It cannot be kept from saying so, and is due only while
// the server is away.
const REFUSED = /^WebSocket connection to 'ws:\/\/\S+' failed: /;

export class Dashboard {
  static async open(browser, server, { origin, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: "light", ...options });
    context.setDefaultTimeout(15_000);
    const dashboard = new Dashboard(context, await context.newPage());
    dashboard.response = await dashboard.page.goto(origin ?? server.url);
    if (!origin) await dashboard.live();
    return dashboard;
  }

  constructor(context, page) {
    this.context = context;
    this.page = page;
    this.serverIsAway = false;
    this.complaints = [];
    this.requests = [];
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      if (!(this.serverIsAway && REFUSED.test(message.text()))) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("request", (request) => this.requests.push(request.url()));
  }

  close() { return this.context.close(); }
  assertQuiet() { assert.deepEqual(this.complaints, []); }
  shot(name, options) { return this.page.screenshot({ path: `${process.env.BROWSER_SHOTS}/${name}.png`, ...options }); }

  status() { return this.page.locator("#status").textContent(); }
  /// Waits until both sockets are open and figures have come.
  async live() {
    await until("the page to be live", async () => (await this.status()) === "Live");
    await until("the echo socket", async () => (await this.page.locator("#echo-status").textContent()) === "Connected");
  }

  /// A protocol's card: `{ value, label, since, address, in, out, events, chart }`, the rates in bytes or events a second.
  async card(name) {
    const card = this.page.locator(`[data-protocol=${name}]`);
    const text = (selector) => card.locator(selector).textContent();
    return {
      address: await text(".address"), value: number(await text(".figure b")), label: await text(".figure span"),
      since: await text(".wide dd"), in: amount(await text(".in dd")), out: amount(await text(".out dd")),
      events: amount(await text(".events dd")), chart: (await card.locator(".area-in").getAttribute("d")) ?? "",
      spoken: await card.locator(".chart").getAttribute("aria-valuetext"),
    };
  }

  /// The heartbeats' rows: `{ peer, last, smoothed, worst }`, in milliseconds, NaN where there is none yet.
  async beats() {
    const rows = await this.page.locator("#beats-rows tr").evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
    return rows.map(([peer, , last, smoothed, worst]) => ({ peer, last: Number(last), smoothed: Number(smoothed), worst: Number(worst) }));
  }

  /// The echo log, newest first: `{ kind, body, result, size }`.
  log() {
    return this.page.locator("#log li").evaluateAll((all) => all.map((row) => {
      const [kind, body, result, size] = [...row.children].map((cell) => cell.textContent);
      return { kind, body, result, size };
    }));
  }
  /// Waits for the newest line of the log, when `count` lines are there and it is settled.
  settled(count) {
    return until(`echo ${count}`, async () => {
      const log = await this.log();
      return log.length === count && log[0].result !== "…" && log[0];
    });
  }
  error() { return this.page.locator("#echo-error").textContent(); }
  choose(mode) { return this.page.locator(`.modes input[value=${mode}]`).check(); }
}

const number = (text) => Number(text.replaceAll(",", ""));
function amount(text) {
  const [, digits, unit] = /^([\d.,]+)(?:\u00a0([KMGT]?i?B))?\/s$/.exec(text) ?? [];
  return number(digits) * 1024 ** Math.max(0, ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(unit));
}
