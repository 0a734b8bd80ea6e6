// Keyboard, schemes, contrast, a phone, reduced motion.
import assert from "node:assert/strict";
import { Dashboard } from "./dashboard.mjs";
import { tcpPeer } from "./peers.mjs";
import { until } from "./wait.mjs";

export const title = "access";

export async function run({ browser, server, dashboard, check }) {
  const { page } = dashboard;
  const focused = () => page.evaluate(() => {
    const node = document.activeElement;
    const ringed = node.matches(".modes input") ? node.parentElement : node;     // a radio button's label wears its ring
    const { outlineStyle, outlineWidth } = getComputedStyle(ringed);
    return { id: node.id || node.value || node.className, tag: node.tagName, ring: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
  });

  await check("everything is reached by Tab, in order, and shows its focus", async () => {
    const order = [];
    for (let i = 0; i < 8; i += 1) {
      await page.keyboard.press("Tab");
      const at = await focused();
      assert.ok(at.ring, `no focus ring on ${at.id}`);
      order.push(at.id);
    }
    assert.deepEqual(order, ["chart", "chart", "chart", "chart", "beats-scroll", "text", "text", "send"]);
  });
  await check("a message is sent and the mode changed by keyboard alone", async () => {
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" by keyboard");
    await page.keyboard.press("Enter");
    assert.equal((await dashboard.settled(1)).body, "Hello, Switchboard by keyboard");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Tab");
    assert.equal((await focused()).id, "hex");
    await page.keyboard.press("Enter");
    assert.equal((await dashboard.settled(2)).kind, "hex");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Space");
    assert.equal((await dashboard.settled(3)).kind, "hex");
  });
  await check("what happens is told to a screen reader", async () => {
    assert.match(await page.locator("#echo-said[role=status]").textContent(), /^hex message of 6\sB echoed in \d+\.\d milliseconds$/);
    const nameless = await page.evaluate(() => [...document.querySelectorAll("input, select, textarea, button, [tabindex]")]
      .filter((node) => !node.labels?.length && !node.ariaLabel && !node.getAttribute("aria-labelledby") && !node.textContent.trim())
      .map((node) => node.outerHTML));
    assert.deepEqual(nameless, []);
  });
  await check("a chart is read by its arrow keys", async () => {
    const chart = page.locator("[data-protocol=websocket] .chart");
    await chart.focus();
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    assert.match(await chart.getAttribute("aria-valuetext"), /^2 seconds ago: (in .*, out .*|no data)$/);
    assert.equal(await chart.getAttribute("aria-valuenow"), "-2");
    await page.keyboard.press("Escape");
    await until("now", async () => (await chart.getAttribute("aria-valuetext")).startsWith("now: "));
  });

  const peers = await Promise.all(Array.from({ length: 12 }, () => tcpPeer(server.port("tcp-echo"))));
  for (const scheme of ["light", "dark"]) {
    await check(`the ${scheme} scheme has contrast, and is photographed`, async () => {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });      // no colour in mid-change
      const shades = await page.evaluate(contrasts);
      assert.equal(shades.background > 0.5, scheme === "light");
      for (const [what, ratio] of Object.entries(shades.ratios)) assert.ok(ratio >= 4.5, `${what}: ${ratio.toFixed(2)}`);
      const chart = async () => { for (const peer of peers) await peer.echo(2_000); return (await dashboard.card("tcp-echo")).chart.split("H").length > 6; };
      await until("a chart worth a picture", chart);
      await dashboard.shot(scheme);
    });
  }
  for (const width of [320, 390, 768, 1024]) {
    await check(`${width} pixels wide: nothing runs out of the page`, async () => {
      const phone = await Dashboard.open(browser, server, { viewport: { width, height: 844 }, isMobile: width < 700, hasTouch: width < 700 });
      try {
        await until("12 open", async () => (await phone.card("tcp-echo")).value === 12);
        assert.ok(await phone.page.evaluate(() => document.documentElement.scrollWidth) <= width);
        await phone.shot(`width-${width}`, { fullPage: true });
        phone.assertQuiet();
      } finally {
        await phone.close();
      }
    });
  }
  await check("motion is reduced where asked", async () => {
    const animation = () => page.locator("#log li").first().evaluate((row) => getComputedStyle(row).animationName);
    await page.emulateMedia({ reducedMotion: "no-preference" });
    assert.equal(await animation(), "arrive");
    await page.emulateMedia({ reducedMotion: "reduce" });
    assert.equal(await animation(), "none");
  });
  for (const peer of peers) peer.close();
}

/// Runs in the page: the page's lightness, and WCAG's contrast ratio of the texts that matter against what is beneath.
function contrasts() {
  const channel = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((n) => channel(Number(n) / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const beneath = (node) => {
    const { backgroundColor } = getComputedStyle(node);
    return /, 0\)$|transparent/.test(backgroundColor) ? beneath(node.parentElement) : backgroundColor;
  };
  const ratios = {};
  for (const selector of ["h1", "#status", ".totals dt", ".address", ".figure b", ".figure span", ".rates dt", ".rates .wide dd", ".caption", "#send", "#echo-limit", ".field label", ".modes label", ".log .body", ".log .what", "footer"]) {
    const node = [...document.querySelectorAll(selector)].find((n) => n.offsetParent !== null) ?? document.querySelector(selector);
    const [a, b] = [luminance(getComputedStyle(node).color), luminance(beneath(node))].sort((x, y) => y - x);
    ratios[selector] = (a + 0.05) / (b + 0.05);
  }
  return { background: luminance(getComputedStyle(document.body).backgroundColor), ratios };
}
