// A tab with an example's page, in a context of its own.
import { Dashboard } from "./dashboard.mjs";

/// Opens it; what a `Dashboard` is good for besides its own page is its tab's, too: `page`, `shot`, `assertQuiet`, `close`.
export async function openTab(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, colorScheme: "light", ...options });
  context.setDefaultTimeout(15_000);
  const tab = new Dashboard(context, await context.newPage());
  tab.response = await tab.page.goto(url);
  return tab;
}
