// The server goes and comes back: the page says so, tries again by itself, and goes on.
import assert from "node:assert/strict";
import { udpExchange } from "./peers.mjs";
import { Server } from "./server.mjs";
import { until } from "./wait.mjs";

export const title = "restart";

let current;
export const finish = () => current?.stop("SIGKILL");

export async function run({ server, dashboard, check }) {
  const { page } = dashboard;
  current = server;
  const again = async () => { current = await Server.start({ addresses: server.addresses }); };
  const isLost = () => until("the page to say that it is disconnected", async () => (await dashboard.status()) === "Disconnected");

  await check("SIGTERM says goodbye to the browser with Close 1001, and exits 0", async () => {
    await page.locator("#text").press("Enter");
    await dashboard.settled(1);
    await page.evaluate((url) => new Promise((resolve) => {
      const ws = new WebSocket(url);
      ws.onopen = resolve;
      ws.onclose = (event) => { globalThis.goodbye = { code: event.code, clean: event.wasClean }; };
    }), `${server.url.replace("http", "ws")}echo`);
    await udpExchange(server.port("udp-echo"), 20, 500);
    await until("charts worth a picture", async () => (await dashboard.card("udp-echo")).chart.length > 0);
    dashboard.serverIsAway = true;
    const started = performance.now();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    assert.ok(performance.now() - started < 5_000);
    assert.deepEqual(await until("the close event", () => page.evaluate(() => globalThis.goodbye)), { code: 1001, clean: true });
  });
  await check("meanwhile the page says that it is disconnected, and why nothing is sent", async () => {
    await isLost();
    assert.equal(await page.title(), "Disconnected · Switchboard");
    assert.ok(await page.locator("#banner").isVisible());
    assert.equal(await page.locator("#echo-status").textContent(), "Disconnected: the server is stopping");
    assert.match(await page.locator("#banner").textContent(), /Connection lost\..*Trying again/);
    assert.equal(await page.locator("#send").getAttribute("aria-disabled"), "true");
    await page.locator("#text").press("Enter");
    assert.match(await dashboard.error(), /^Not connected/);
    assert.equal((await dashboard.log()).length, 1);
    for (const scheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      await dashboard.shot(`disconnected-${scheme}`);
    }
  });
  await check("it waits longer from try to try", async () => {
    const tries = [];
    page.on("websocket", (ws) => { if (ws.url().endsWith("/feed")) tries.push(performance.now()); });
    await until("four tries", async () => tries.length >= 4, 30_000);
    const waits = tries.slice(1).map((at, i) => at - tries[i]);
    assert.ok(waits[2] > waits[0] * 1.4, `waits of ${waits.map(Math.round)} ms`);
  });
  await check("it comes back by itself after a restart on the same port", async () => {
    await again();
    await dashboard.live();
    dashboard.serverIsAway = false;
    assert.equal(await page.locator("#banner").isVisible(), false);
    assert.equal(await page.title(), "Switchboard");
    assert.equal(await dashboard.error(), "");
    await page.locator("#text").press("Enter");
    assert.match((await dashboard.settled(2)).result, /ms$/);
    await until("figures that follow the new server", async () => (await dashboard.card("websocket")).value === 2);
  });
  await check("a killed server is noticed too, and \"Retry now\" does not wait", async () => {
    dashboard.serverIsAway = true;
    await current.stop("SIGKILL");
    await isLost();
    await until("a wait of some seconds", async () => /again in [4-9] s/.test(await page.locator("#retry-when").textContent()), 30_000);
    await again();
    const asked = performance.now();
    await page.locator("#retry-now").click();
    await dashboard.live();
    assert.ok(performance.now() - asked < 3_000);
    dashboard.serverIsAway = false;
  });
}
