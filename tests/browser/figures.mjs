// Live figures: what goes on at the server is seen on the page.
import assert from "node:assert/strict";
import { heartbeatPeer, tcpPeer, udpExchange } from "./peers.mjs";
import { until } from "./wait.mjs";

export const title = "figures";

export async function run({ server, dashboard, check }) {
  await check("a card a protocol, with its real address", async () => {
    for (const name of ["tcp-echo", "udp-echo", "heartbeat", "websocket"]) {
      assert.equal((await dashboard.card(name)).address, server.addresses[name]);
    }
    assert.deepEqual(await dashboard.page.locator(".card h3").allTextContents(), ["tcp-echo", "udp-echo", "heartbeat", "websocket"]);
    assert.equal(await dashboard.page.title(), "Switchboard");
  });
  await check("the page comes from the server alone, under a strict policy", async () => {
    const headers = dashboard.response.headers();
    assert.match(headers["content-type"], /^text\/html; *charset=utf-8$/i);
    assert.match(headers["content-security-policy"], /default-src 'none'/);
    assert.doesNotMatch(headers["content-security-policy"], /unsafe/);
    assert.deepEqual(dashboard.requests.filter((url) => !url.startsWith(server.url) && !url.startsWith("data:")), []);
  });
  await check("the page's own two WebSockets are counted", async () => {
    const card = await until("2 open", async () => { const c = await dashboard.card("websocket"); return c.value === 2 && c; });
    assert.match(card.since, /2 of them this page/);
    await until("the feed to show as outbound traffic", async () => (await dashboard.card("websocket")).out > 0);
  });
  await check("TCP connections and their bytes show", tcpShows);
  await check("UDP datagrams show", async () => {
    await udpExchange(server.port("udp-echo"), 50, 700);
    const card = await until("50 datagrams", async () => { const c = await dashboard.card("udp-echo"); return c.value === 50 && c; });
    assert.equal(card.label, "datagrams");
    assert.match(card.since, /connectionless/);
    await until("a chart", async () => (await dashboard.card("udp-echo")).chart.length > 0);
  });
  await check("heartbeat round trips show, and go with their connection", beatsShow);
  await check("many heartbeats are a bounded list", manyBeats);
  await check("uptime runs", async () => {
    const uptime = () => dashboard.page.locator("#uptime").textContent();
    const before = await uptime();
    await until("uptime to move", async () => (await uptime()) > before);
    assert.match(before, /^\d\d:\d\d:\d\d$/);
  });

  async function tcpShows() {
    const peers = await Promise.all([1, 2, 3].map(() => tcpPeer(server.port("tcp-echo"))));
    await until("3 open", async () => (await dashboard.card("tcp-echo")).value === 3);
    const flow = until("a rate of more than 10 KiB/s both ways", async () => {
      await Promise.all(peers.map((peer) => peer.echo(16_384)));
      const card = await dashboard.card("tcp-echo");
      return card.in > 10_240 && card.out > 10_240 && card.events > 0 && card.chart.includes("H600");
    });
    await flow;
    assert.ok((await dashboard.card("tcp-echo")).spoken.startsWith("now: in "));
    peers[0].close();
    await until("2 open", async () => (await dashboard.card("tcp-echo")).value === 2);
    for (const peer of peers) peer.close();
    await until("none open", async () => (await dashboard.card("tcp-echo")).value === 0);
    assert.match((await dashboard.card("tcp-echo")).since, /^3 since start/);
    await until("the rate to fall back to nothing", async () => (await dashboard.card("tcp-echo")).in === 0);
  }

  async function beatsShow() {
    const peers = [await heartbeatPeer(server.port("heartbeat")), await heartbeatPeer(server.port("heartbeat"))];
    await until("2 open", async () => (await dashboard.card("heartbeat")).value === 2);
    for (const { name } of peers) {
      const row = await until(`a round trip of ${name}`, async () => (await dashboard.beats()).find((r) => r.peer === name && r.last >= 0));
      assert.ok(row.last <= row.worst && row.smoothed <= row.worst && row.worst < 5_000, JSON.stringify(row));
    }
    for (const peer of peers) peer.close();
    await until("the rows to go", async () => (await dashboard.beats()).every((row) => peers.every((peer) => peer.name !== row.peer)));
  }

  async function manyBeats() {
    const peers = await Promise.all(Array.from({ length: 120 }, () => heartbeatPeer(server.port("heartbeat"))));
    await until("120 open", async () => (await dashboard.card("heartbeat")).value === 120);
    const note = () => dashboard.page.locator("#beats-note").textContent();
    await until("a bounded list", async () => /^the 50 slowest of \d+/.test(await note()));
    assert.equal((await dashboard.beats()).length, 50);
    await dashboard.shot("many-heartbeats");
    for (const peer of peers) peer.close();
    await until("none open", async () => (await dashboard.card("heartbeat")).value === 0);
  }
}
