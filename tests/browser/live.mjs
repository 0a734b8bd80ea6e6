// The live example: the picture moves, and goes on at a key frame for who did not keep up.
import assert from "node:assert/strict";
import { Server } from "./server.mjs";
import { openTab } from "./tab.mjs";
import { until } from "./wait.mjs";

export const title = "live";

export async function run({ browser, check }) {
  let server = await Server.spawn(process.env.LIVE_BINARY, ["--listen", "127.0.0.1:0", "--demo", "--rate", "20", "--key-every", "20", "--behind", "30"]);
  const tab = await openTab(browser, server.url);
  const figure = async (name, on = tab) => Number.parseFloat((await on.page.locator(`#${name}`).textContent()).replaceAll(",", ""));
  const pixels = (on = tab) => on.page.locator("#picture").evaluate((canvas) => canvas.toDataURL());
  const isRight = async (on = tab) => assert.equal(await on.page.locator("#checked").textContent(), "right");
  try {
    await check("the picture moves, and is right", async () => {
      await until("twenty frames", async () => (await figure("frame")) > 20);
      const before = await pixels();
      await until("the picture to change", async () => (await pixels()) !== before);
      await until("a rate of about twenty", async () => { const rate = await figure("rate"); return rate > 10 && rate < 25; });
      assert.ok((await figure("lag")) < 1_000);
      assert.deepEqual([await figure("restarts"), await figure("skipped")], [0, 0]);
      await isRight();
      assert.match(tab.response.headers()["content-security-policy"], /script-src 'self'/);
      assert.deepEqual(tab.requests.filter((url) => !url.startsWith(server.url) && !url.startsWith("data:")), []);
    });
    for (const scheme of ["light", "dark"]) {
      await tab.page.emulateMedia({ colorScheme: scheme });
      await tab.shot(`live-${scheme}`);
    }
    await check("a late tab starts at a key frame, and sees the same", async () => {
      const late = await openTab(browser, server.url, { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true });
      try {
        await until("frames", async () => (await figure("frame", late)) > 0);
        await until("figures", async () => (await figure("rate", late)) > 0);
        await isRight(late);
        assert.equal(await figure("restarts", late), 0);
        await late.shot("live-phone");
        const wide = await late.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${wide} px wider than the screen`);
        late.assertQuiet();
      } finally {
        await late.close();
      }
    });
    await check("after a stop it goes on at the latest key frame", async () => {
      await tab.page.locator("#hold").click();
      const stopped = await until("the picture to stand still", async () => {
        const frame = await figure("frame");
        await new Promise((resolve) => setTimeout(resolve, 300));
        return frame === (await figure("frame")) && frame;
      });
      await tab.shot("live-stopped");
      const before = await figure("restarts"), end = performance.now() + 4_000;
      await until("some seconds of it", async () => performance.now() > end && (await figure("rate")) === 0);
      await tab.page.locator("#hold").click();
      await until("frames", async () => (await figure("frame")) > stopped + 10);
      await until("a restart", async () => (await figure("restarts")) > before);
      assert.ok((await figure("skipped")) > 0);
      await isRight();
    });
    await check("a tab that is busy for five seconds picks up", async () => {
      const restarts = await figure("restarts");
      await tab.page.evaluate(() => { for (const end = performance.now() + 5_000; performance.now() < end;); });
      await until("a restart", async () => (await figure("restarts")) > restarts);
      await until("a small lag", async () => (await figure("lag")) < 500);
      const before = await figure("frame");
      await until("frames", async () => (await figure("frame")) > before + 20);
      await isRight();
    });
    await check("the server goes and comes back", async () => {
      tab.serverIsAway = true;
      assert.deepEqual(await server.stop(), { code: 0, signal: null });
      await until("the loss", async () => /Trying again$/.test(await tab.page.locator("#status").textContent()));
      server = await Server.spawn(process.env.LIVE_BINARY, ["--listen", server.addresses.web, "--demo"]);
      await until("a connection", async () => (await tab.page.locator("#status").textContent()) === "Connected", 30_000);
      tab.serverIsAway = false;
      const before = await pixels();
      await until("the picture to move", async () => (await pixels()) !== before);
      await isRight();
    });
    await check("nothing is amiss in the console", async () => tab.assertQuiet());
  } finally {
    await tab.close();
    await server.stop("SIGKILL");
  }
}
