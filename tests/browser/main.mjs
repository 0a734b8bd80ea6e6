// Drives the examples' pages in headless Chromium. `run` starts it with CHROMIUM, a binary for each (SERVER_BINARY), and
// BROWSER_SHOTS.
import { chromium } from "playwright-core";
import { check, tell } from "./checks.mjs";
import { Server } from "./server.mjs";
import { Dashboard } from "./dashboard.mjs";
import { within } from "./wait.mjs";
import * as figures from "./figures.mjs";
import * as echo from "./echo.mjs";
import * as access from "./access.mjs";
import * as restart from "./restart.mjs";
import * as chat from "./chat.mjs";
import * as live from "./live.mjs";
import * as iot from "./iot_dashboard.mjs";
import * as game from "./game.mjs";

const ONLY = process.env.BROWSER_SUITES?.split(" ");      // by title; all of them by default
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

// The whole run has a deadline too, should a wait without one have slipped in.
setTimeout(() => { console.log("FAIL  the whole run took more than 4 minutes"); tell(); process.exit(1); }, 240_000).unref();

const wanted = ({ title }) => !ONLY || ONLY.includes(title);

let browser;
await check("Chromium and the server start", async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
  const server = await Server.start();
  const { code } = await server.stop();
  if (code !== 0) throw new Error(`the server exited with ${code}: ${server.errors}`);
});

if (browser) {
  for (const suite of [figures, echo, access, restart].filter(wanted)) {
    await check(`${suite.title}: runs to its end`, async () => {
      const server = await Server.start({ options: ["--ping-interval", "0.3", "--ping-timeout", "10"] });
      const dashboard = await Dashboard.open(browser, server);
      try {
        await suite.run({ browser, server, dashboard, check: (name, run, ms) => check(`${suite.title}: ${name}`, run, ms) });
        await check(`${suite.title}: nothing is amiss in the console`, async () => dashboard.assertQuiet());
      } finally {
        await dashboard.close();
        await (suite.finish?.() ?? server.stop("SIGKILL"));
      }
    }, 120_000);
  }
  for (const suite of [chat, live, iot, game].filter(wanted)) {
    await check(`${suite.title}: runs to its end`, () => suite.run({
      browser, check: (name, run, ms) => check(`${suite.title}: ${name}`, run, ms),
    }), 120_000);
  }
  await within(10_000, "Chromium to close", browser.close());
}
process.exit(tell() ? 0 : 1);
