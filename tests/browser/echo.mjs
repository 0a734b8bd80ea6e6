// Messages sent by hand, and their echoes.
import assert from "node:assert/strict";
import http from "node:http";
import { once } from "node:events";
import { Dashboard } from "./dashboard.mjs";
import { until, within } from "./wait.mjs";

export const title = "echo";

export async function run({ browser, server, dashboard, check }) {
  const { page } = dashboard;
  let sent = 0;
  const send = async () => { await page.locator("#send").click(); sent += 1; return dashboard.settled(sent); };

  await check("text comes back, with its round-trip time", async () => {
    await page.locator("#text").fill("héllo, wörld 🦀\nsecond line");
    const entry = await send();
    assert.equal(entry.kind, "text");
    assert.equal(entry.body, "héllo, wörld 🦀\nsecond line");
    assert.match(entry.result, /^\d+\.\d\sms$/);
    assert.equal(entry.size, "31\u00a0B");
  });
  await check("an empty text comes back", async () => {
    await page.locator("#text").fill("");
    assert.match((await send()).result, /ms$/);
  });
  await check("hex comes back as a binary message", async () => {
    await dashboard.choose("hex");
    await page.locator("#hex").fill("00 01 fe ff DEADBEEF");
    const entry = await send();
    assert.deepEqual([entry.kind, entry.body, entry.size], ["hex", "00 01 fe ff de ad be ef", "8\u00a0B"]);
    assert.match(entry.result, /ms$/);
  });
  await check("what is not hex is refused, and nothing is sent", async () => {
    for (const wrong of ["0", "xy", "12 3"]) {
      await page.locator("#hex").fill(wrong);
      await page.locator("#send").click();
      assert.match(await dashboard.error(), /hex digits|digits 0-9/);
    }
    assert.equal((await dashboard.log()).length, sent);
  });
  await check("random bytes come back: none, 125, 126, 65536, 5 MiB and the limit of 64 MiB", async () => {
    await dashboard.choose("random");
    for (const [size, unit, shown] of [["0", "bytes", "0 B"], ["125", "bytes", "125 B"], ["126", "bytes", "126 B"], ["65536", "bytes", "64 KiB"], ["5", "MiB", "5 MiB"], ["64", "MiB", "64 MiB"]]) {
      await page.locator("#size").fill(size);
      await page.locator("#unit").selectOption(unit);
      const entry = await send();
      assert.match(entry.result, /ms$/, shown);
      assert.equal(entry.size.replace("\u00a0", " "), shown);
    }
  });
  await check("more than the limit is refused before it is made", async () => {
    await page.locator("#size").fill("65");
    await page.locator("#unit").selectOption("MiB");
    await page.locator("#send").click();
    assert.match(await dashboard.error(), /up to 64\sMiB/);
    assert.equal((await dashboard.log()).length, sent);
  });
  await check("a file comes back", async () => {
    await dashboard.choose("file");
    await page.locator("#file").setInputFiles({ name: "notes.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(100_000, 7) });
    const entry = await send();
    assert.deepEqual([entry.kind, entry.body], ["file", "notes.bin"]);
    assert.match(entry.result, /ms$/);
  });
  await check("the tally agrees, and the card has counted the messages", async () => {
    assert.match(await page.locator("#echo-tally").textContent(), new RegExp(`^${sent} sent .* ${sent} echoed alike`));
    await until("the card's chart", async () => (await dashboard.card("websocket")).chart.length > 0);
  });
  await check("the log is bounded", async () => {
    await dashboard.choose("text");
    await page.locator("#text").fill("again");
    for (let i = 0; i < 120; i += 1) await page.locator("#text").press("Enter");
    sent += 120;
    await until("all echoes", async () => (await page.locator("#echo-tally").textContent()).includes(`${sent} echoed alike`));
    assert.equal((await dashboard.log()).length, 100);
    await page.locator("#clear").click();
    assert.equal((await dashboard.log()).length, 0);
  });
  await check("another origin may use /echo, and is refused /feed", async () => {
    const elsewhere = http.createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>elsewhere</title><link rel=icon href=data:,>"));
    elsewhere.listen(0, "127.0.0.1");
    await within(5_000, "a second origin", once(elsewhere, "listening"));
    const other = await Dashboard.open(browser, server, { origin: `http://127.0.0.1:${elsewhere.address().port}/` });
    try {
      const open = (path) => other.page.evaluate((url) => new Promise((resolve) => {
        const ws = new WebSocket(url);
        ws.onopen = () => { resolve("open"); ws.close(); };
        ws.onclose = () => resolve("refused");
      }), server.url.replace("http", "ws") + path);
      assert.equal(await open("echo"), "open");
      assert.equal(await open("feed"), "refused");
    } finally {
      await other.close();
      elsewhere.close();
    }
  });
}
