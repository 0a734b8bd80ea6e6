// The dashboard example: a thousand devices, live, and the silent ones marked.
import assert from "node:assert/strict";
import { play } from "./player.mjs";
import { Server } from "./server.mjs";
import { openTab } from "./tab.mjs";
import { until } from "./wait.mjs";

export const title = "iot_dashboard";

const BINARY = process.env.IOT_DASHBOARD_BINARY;

export async function run({ browser, check }) {
  const options = ["--silent-after", "2s", "--gone-after", "60s"];
  const ports = ["tcp", "udp", "web"];
  let server = await Server.spawn(BINARY, [...ports.flatMap((name) => [`--${name}`, "127.0.0.1:0"]), ...options]);
  const simulate = (...more) => play(BINARY, ["simulate", "--tcp", server.addresses.tcp, "--udp", server.addresses.udp, ...more]);
  const tab = await openTab(browser, server.url, { viewport: { width: 1280, height: 860 } });
  const text = (id, on = tab) => on.page.locator(`#${id}`).textContent();
  const count = async (state, on = tab) => Number((await text(`count-${state}`, on)).replaceAll(",", ""));
  const shown = (on = tab) => on.page.locator(".tile:not([hidden])").count();
  const tile = (name) => tab.page.locator(".tile", { has: tab.page.getByText(name, { exact: true }) });
  let devices;
  try {
    await check("an empty page says what to do", async () => {
      await until("the page to be live", async () => (await text("status")) === "Live");
      assert.match(await text("empty"), /simulate/);
      assert.match(tab.response.headers()["content-security-policy"], /script-src 'self'/);
    });
    await check("a thousand devices show, half on each transport, and their values move", async () => {
      devices = simulate("--devices", "1000", "--every", "500ms", "--silent", "12", "--silent-from", "4s", "--lossy", "0.05");
      await until("all of them", async () => (await count("all")) === 1_000, 30_000);
      assert.deepEqual([await text("tcp"), await text("udp")], ["500", "500"]);
      const first = tile("sensor-0013");
      const value = () => first.locator(".value").textContent();
      const before = await value();
      await until("another value", async () => (await value()) !== before);
      await until("a sparkline", async () => (await first.locator("path").getAttribute("d")).split("L").length > 3);
      await until("a rate", async () => Number.parseFloat((await text("rate")).replaceAll(",", "")) > 1_000);
      assert.equal(await tab.page.locator(".tile .name").first().textContent(), "sensor-0000");
    });
    await check("those that fall silent are marked, and no others", async () => {
      await until("twelve", async () => (await count("silent")) === 12, 30_000);
      assert.match(await tile("sensor-0003").locator(".age").textContent(), /^silent · \d/);
      assert.equal(await tile("sensor-0003").getAttribute("data-state"), "silent");
      await until("all others", async () => (await count("online")) === 988);
    });
    await check("what is lost on the way shows", async () => {
      await until("a loss", async () => Number((await text("lost")).replaceAll(",", "")) > 20);
      await until("whose it was", async () => (await tab.page.locator(".lost", { hasText: "lost" }).count()) > 0);
    });
    for (const scheme of ["light", "dark"]) {
      await tab.page.emulateMedia({ colorScheme: scheme });
      await tab.shot(`iot_dashboard-${scheme}`);
    }
    await check("they can be filtered by state, name and transport", async () => {
      await tab.page.locator("input[value=silent]").check();
      await until("the silent ones", async () => (await shown()) === 12);
      await tab.shot("iot_dashboard-silent");
      await tab.page.locator("input[value='']").first().check();
      await tab.page.locator("#search").fill("sensor-099");
      await until("ten", async () => (await shown()) === 10);
      await tab.page.locator("#search").fill("udp");
      await until("half of them", async () => (await shown()) === 500);
      await tab.page.locator("#search").fill("");
      await until("all", async () => (await shown()) === 1_000);
    });
    await check("a phone shows them too, within its width", async () => {
      const phone = await openTab(browser, server.url, { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true, colorScheme: "dark" });
      try {
        await until("all of them", async () => (await count("all", phone)) === 1_000);
        await until("values", async () => /\d/.test(await phone.page.locator(".value").first().textContent()));
        await until("a line", async () => Boolean(await phone.page.locator("path").nth(12).getAttribute("d")));
        await phone.shot("iot_dashboard-phone");
        const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${wide} px wider than the screen`);
        phone.assertQuiet();
      } finally {
        await phone.close();
      }
    });
    await check("devices that go are shown as gone", async () => {
      devices.stop();
      await until("TCP's end", async () => (await count("gone")) >= 494);
      await tab.shot("iot_dashboard-gone");
    });
    await check("the server goes and comes back", async () => {
      tab.serverIsAway = true;
      assert.equal((await server.stop()).code, 0);
      await until("the loss", async () => (await text("status")) === "Disconnected");
      server = await Server.spawn(BINARY, ports.flatMap((name) => [`--${name}`, server.addresses[name]]));
      devices = simulate("--devices", "3");
      await until("what there is now", async () => (await text("status")) === "Live" && (await count("all")) === 3, 30_000);
      tab.serverIsAway = false;
    });
    await check("nothing is amiss in the console", async () => tab.assertQuiet());
  } finally {
    devices?.stop();
    await tab.close();
    await server.stop("SIGKILL");
  }
}
