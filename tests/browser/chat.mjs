// The chat example: two tabs and a line client in one room.
import assert from "node:assert/strict";
import net from "node:net";
import { createInterface } from "node:readline";
import { Server } from "./server.mjs";
import { openTab } from "./tab.mjs";
import { until } from "./wait.mjs";

export const title = "chat";

const ANY = ["--listen", "127.0.0.1:0", "--tcp", "127.0.0.1:0"];

export async function run({ browser, check }) {
  let server = await Server.spawn(process.env.CHAT_BINARY, [...ANY, "--text", "300"]);
  const ann = await openTab(browser, server.url), bob = await openTab(browser, server.url, { colorScheme: "dark" });
  const text = (tab, selector) => tab.page.locator(selector).textContent();
  const status = (tab) => text(tab, "#status");
  const lines = (tab) => tab.page.locator("#log li").evaluateAll((all) => all.map((item) =>
    [item.querySelector(".from")?.textContent, item.querySelector(".text").textContent].filter((part) => part !== undefined).join(": ")));
  const heard = (tab, line) => until(`"${line}"`, async () => (await lines(tab)).at(-1) === line);
  const join = async (tab, name, room = "lobby") => {
    await until("a connection", async () => (await status(tab)) === "Connected");
    await tab.page.locator("#name").fill(name);
    await tab.page.locator("#room").fill(room);
    await tab.page.locator("#enter button").click();
  };
  const inRoom = (tab, room) => until(`${room} to show`, async () => (await tab.page.locator("#title").isVisible()) && (await text(tab, "#title")) === room);
  const say = async (tab, line) => { await tab.page.locator("#text").fill(line); await tab.page.locator("#text").press("Enter"); };
  let carl;
  try {
    await check("the page has a policy, and nothing from elsewhere", async () => {
      assert.match(ann.response.headers()["content-security-policy"], /script-src 'self'/);
      assert.deepEqual(ann.requests.filter((url) => !url.startsWith(server.url) && !url.startsWith("data:")), []);
      await ann.shot("chat-enter");
    });
    await check("two tabs join one room; a name that is taken or wrong is refused", async () => {
      await join(ann, "ann");
      await inRoom(ann, "lobby");
      await join(bob, "ann");
      await until("an error", async () => (await text(bob, "#enter-error")) === "that name is taken");
      await join(bob, "two words");
      await until("an error", async () => (await text(bob, "#enter-error")).startsWith("a name has 1 to 24"));
      await join(bob, "bob");
      await inRoom(bob, "lobby");
      await heard(ann, "bob has joined");
      assert.equal(await text(ann, "#count"), "2 here");
    });
    await check("a line client joins them, and all three hear each other", async () => {
      carl = await lineClient(server.port("line"));
      carl.say("/name carl\n/join lobby");
      await heard(ann, "carl has joined");
      await say(ann, "Hello, you two. Is anybody on a terminal?");
      await heard(bob, "ann: Hello, you two. Is anybody on a terminal?");
      await heard(ann, "ann: Hello, you two. Is anybody on a terminal?");
      await until("carl's terminal", async () => carl.lines.at(-1) === "[lobby] ann: Hello, you two. Is anybody on a terminal?");
      carl.say("I am: nc is all it takes");
      for (const tab of [ann, bob]) await heard(tab, "carl: I am: nc is all it takes");
      await say(bob, "héllo 🦀 שלום");
      await heard(ann, "bob: héllo 🦀 שלום");
      await ann.page.locator("#count").click();
      assert.deepEqual(await ann.page.locator("#names li").allTextContents(), ["ann", "bob", "carl"]);
      for (const [tab, scheme] of [[ann, "light"], [bob, "dark"]]) await tab.shot(`chat-${scheme}`);
      await ann.page.locator("#log").click();
      assert.equal(await ann.page.locator("#names").isVisible(), false);
    });
    await check("what others write is text, whatever it looks like", async () => {
      const markup = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script> &amp;";
      carl.say(markup);
      await heard(ann, `carl: ${markup}`);
      await say(bob, "javascript:alert(1)//\"' onmouseover=alert(2)");
      await heard(ann, "bob: javascript:alert(1)//\"' onmouseover=alert(2)");
      assert.equal(await ann.page.locator("#log img, #log script").count(), 0);
      assert.notEqual(await ann.page.title(), "owned");
    });
    await check("a message that is too long is refused, and not lost", async () => {
      await say(ann, "x".repeat(301));
      await until("an error", async () => (await text(ann, "#error")) === "a message has at most 300 characters");
      assert.equal(await ann.page.locator("#text").inputValue(), "x".repeat(301));
      await say(ann, "shorter");
      await heard(bob, "ann: shorter");
      assert.equal(await text(ann, "#error"), "");
    });
    await check("a second room has its own messages, and a count of those not read", async () => {
      await ann.page.locator("#another").fill("garden");
      await ann.page.locator("#another").press("Enter");
      await inRoom(ann, "garden");
      assert.deepEqual(await lines(ann), []);
      for (const word of ["one", "two"]) await say(bob, word);
      await until("two unread", async () => (await ann.page.locator("#rooms b").allTextContents()).join("|") === "2|");
      assert.equal(await ann.page.title(), "(2) Chat");
      await ann.page.locator("#rooms button").first().click();
      await heard(ann, "bob: two");
      assert.equal(await ann.page.title(), "Chat");
    });
    await check("many messages stay at the end, but not for who looks back", async () => {
      for (let i = 0; i < 40; i += 1) carl.say(`line ${i}`);
      await heard(ann, "carl: line 39");
      const bottom = () => ann.page.locator("#log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
      assert.ok((await bottom()) < 5);
      await ann.page.locator("#log").evaluate((log) => { log.scrollTop = 0; });
      carl.say("below");
      await heard(ann, "carl: below");
      assert.ok((await bottom()) > 100);
      await ann.page.locator("#newer").click();
      assert.ok((await bottom()) < 5);
    });
    await check("it fits a phone", async () => {
      const phone = await openTab(browser, server.url, { viewport: { width: 360, height: 640 }, colorScheme: "dark", hasTouch: true, isMobile: true });
      try {
        await phone.shot("chat-phone-enter");
        await join(phone, "dora");
        await inRoom(phone, "lobby");
        await say(phone, "Here on a phone, with a message that is too long for one line of it");
        await heard(phone, "dora: Here on a phone, with a message that is too long for one line of it");
        carl.say("Welcome");
        await heard(phone, "carl: Welcome");
        await phone.shot("chat-phone");
        const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${wide} px wider than the screen`);
        phone.assertQuiet();
      } finally {
        await phone.close();
      }
      await heard(ann, "dora has left");
    });
    await check("leaving the last room leads back to the start", async () => {
      await bob.page.locator("#leave").click();
      await until("the start", () => bob.page.locator("#enter").isVisible());
      await heard(ann, "bob has left");
      await bob.page.locator("#room").fill("lobby");
      await bob.page.locator("#enter button").click();
      await inRoom(bob, "lobby");
    });
    await check("a reload is in its rooms again", async () => {
      await bob.page.reload();
      await inRoom(bob, "lobby");
      await say(bob, "reloaded");
      await heard(ann, "bob: reloaded");
      assert.equal(await text(ann, "#count"), "3 here");
    });
    await check("the server goes and comes back: the tabs say so, and join again by themselves", async () => {
      for (const tab of [ann, bob]) tab.serverIsAway = true;
      assert.deepEqual(await server.stop(), { code: 0, signal: null });
      assert.equal(carl.lines.at(-1), "* The server stops. Goodbye");
      await until("the loss", async () => /Trying again$/.test(await status(ann)));
      await ann.shot("chat-lost");
      const { web, line } = server.addresses;
      server = await Server.spawn(process.env.CHAT_BINARY, ["--listen", web, "--tcp", line]);
      for (const tab of [ann, bob]) {
        await until("a connection", async () => (await status(tab)) === "Connected", 30_000);
        tab.serverIsAway = false;
      }
      await until("both to be in the room", async () => (await text(ann, "#count")) === "2 here");
      await say(ann, "back again");
      await heard(bob, "ann: back again");
    });
    await check("nothing is amiss in the console", async () => { ann.assertQuiet(); bob.assertQuiet(); });
  } finally {
    carl?.close();
    await Promise.all([ann.close(), bob.close()]);
    await server.stop("SIGKILL");
  }
}

/// A member with a terminal: `say`, and the `lines` that have come.
async function lineClient(port) {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {});
  const lines = [];
  createInterface({ input: socket }).on("line", (line) => lines.push(line)).on("error", () => {});
  await until("a welcome", async () => lines.length > 0);
  return { lines, say: (line) => socket.write(`${line}\n`), close: () => socket.destroy() };
}
