// The game example: spectators see two hundred players move, and what they say.
import assert from "node:assert/strict";
import { play } from "./player.mjs";
import { Server } from "./server.mjs";
import { openTab } from "./tab.mjs";
import { until } from "./wait.mjs";

export const title = "game";

const BINARY = process.env.GAME_BINARY;

export async function run({ browser, check }) {
  const ports = ["lobby", "udp", "web"];
  let server = await Server.spawn(BINARY, ports.flatMap((name) => [`--${name}`, "127.0.0.1:0"]));
  const tab = await openTab(browser, server.url, { viewport: { width: 1280, height: 720 } });
  const text = (id, on = tab) => on.page.locator(`#${id}`).textContent();
  const picture = (on = tab) => on.page.locator("#canvas").evaluate((canvas) => canvas.toDataURL());
  let bots;
  try {
    await check("two hundred players are seen, and move", async () => {
      await until("the page to be live", async () => (await text("status")) === "Live");
      bots = play(BINARY, ["bots", "--players", "200", "--lobby", server.addresses.lobby]);
      await until("all of them", async () => (await text("players")) === "200", 30_000);
      const before = await picture();
      await until("another picture", async () => (await picture()) !== before);
      await until("frames", async () => Number.parseFloat(await text("frames")) >= 10);
      assert.match(tab.response.headers()["content-security-policy"], /script-src 'self'/);
    });
    await check("what they say is read", async () => {
      await until("ten lines", async () => (await tab.page.locator("#chat li").count()) >= 10, 30_000);
      assert.match(await tab.page.locator("#chat li").last().textContent(), /^bot-\d+ \S/);
    });
    for (const scheme of ["light", "dark"]) {
      await tab.page.emulateMedia({ colorScheme: scheme });
      await until("some frames of it", async () => Number.parseFloat(await text("frames")) >= 10);
      await tab.shot(`game-${scheme}`);
    }
    await check("a phone shows them too, within its width", async () => {
      const phone = await openTab(browser, server.url, { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true, colorScheme: "dark" });
      try {
        await until("all of them", async () => (await text("players", phone)) === "200");
        await until("a line", async () => (await phone.page.locator("#chat li").count()) > 0, 30_000);
        await phone.shot("game-phone");
        const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${wide} px wider than the screen`);
        phone.assertQuiet();
      } finally {
        await phone.close();
      }
    });
    await check("who leaves is seen no more", async () => {
      bots.stop();
      await until("nobody", async () => (await text("players")) === "0");
    });
    await check("the server goes and comes back", async () => {
      tab.serverIsAway = true;
      assert.equal((await server.stop()).code, 0);
      await until("the loss", async () => (await text("status")) === "Disconnected");
      server = await Server.spawn(BINARY, ports.flatMap((name) => [`--${name}`, server.addresses[name]]));
      await until("a connection", async () => (await text("status")) === "Live", 30_000);
      tab.serverIsAway = false;
    });
    await check("nothing is amiss in the console", async () => tab.assertQuiet());
  } finally {
    bots?.stop();
    await tab.close();
    await server.stop("SIGKILL");
  }
}
