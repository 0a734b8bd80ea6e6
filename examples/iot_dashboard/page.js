// /live first sends { now_ms, silent_after_ms, devices: [device…] }, then a device each time something of it changes,
// and { now_ms } every two seconds. A device is all that is known of it, so a page that missed some is up to date with
// the next: { key, name, unit, transport, state: "online" | "silent" | "gone", number, value, received, lost, starts, at_ms }.

const POINTS = 40;               // what a sparkline shows
const PAINT_MS = 250;            // how often tiles are painted, however fast readings come
const AVERAGE_MS = 3_000;        // what the rate averages over
const STALE_MS = 6_000;          // a feed silent for so long is taken for dead (it speaks every two seconds)

const $ = (id) => document.getElementById(id);
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const grouped = new Intl.NumberFormat("en-US");
const order = new Intl.Collator("en", { numeric: true });

const tiles = new Map();         // by key
const dirty = new Set();
let offset = 0;                  // the server's clock less ours
let heard = 0;                   // when it was heard last
const readings = [];             // [when, how many since the one before]
let fresh = 0;                   // readings since the last paint
let sorted = true;

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.tile.visible = isIntersecting;
    if (isIntersecting) dirty.add(target.tile);
  }
}, { rootMargin: "200px" });

function tileFor(device) {
  let tile = tiles.get(device.key);
  if (tile && tile.device.name === device.name) return tile;
  if (!tile) {
    const node = $("tile").content.firstElementChild.cloneNode(true);
    const part = (name) => node.querySelector(`.${name}`);
    tile = { node, visible: false, points: [], name: part("name"), transport: part("transport"), number: part("number"), unit: part("unit"),
      age: part("age"), lost: part("lost"), path: node.querySelector("path") };
    node.tile = tile;
    tiles.set(device.key, tile);
    $("grid").append(node);
    seen.observe(node);
  }
  tile.points = [];              // another device has its place
  sorted = false;
  return tile;
}

function take(device) {
  const tile = tileFor(device);
  const before = tile.device;
  tile.device = device;
  if (device.value !== null && (before?.name !== device.name || device.number !== before.number || device.starts !== before.starts)) {
    tile.points.push(device.value);
    if (tile.points.length > POINTS) tile.points.shift();
    fresh += 1;
  }
  dirty.add(tile);
}

const serverNow = () => performance.now() + offset;
function age(ms) {
  const s = Math.max(0, ms) / 1000;
  return s < 10 ? `${s.toFixed(1)} s` : s < 100 ? `${Math.round(s)} s` : s < 5_400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}
function line(points) {
  if (points.length < 2) return "";
  const low = Math.min(...points), span = Math.max(...points) - low || 1;
  const step = 100 / (POINTS - 1), start = 100 - step * (points.length - 1);
  return points.map((p, i) => `${i ? "L" : "M"}${(start + i * step).toFixed(1)} ${(20 - 18 * (p - low) / span).toFixed(1)}`).join("");
}

function paint(tile) {
  const { device, node } = tile;
  node.dataset.state = device.state;
  put(tile.name, device.name);
  node.title = `${device.name}: reading ${grouped.format(device.number)}, ${grouped.format(device.received)} received, ${grouped.format(device.lost)} lost, started ${device.starts}×`;
  put(tile.transport, device.transport);
  put(tile.number, device.value === null ? "–" : device.value.toFixed(2));
  put(tile.unit, device.unit);
  put(tile.lost, device.lost ? `${grouped.format(device.lost)} lost` : "");
  const path = line(tile.points);
  if (tile.path.getAttribute("d") !== path) tile.path.setAttribute("d", path);
}
function paintAge(tile, now) {
  const { state, value, at_ms } = tile.device;
  const since = value === null ? "" : age(now - at_ms);
  put(tile.age, state === "online" ? since || "no reading yet" : `${state}${since && ` · ${since}`}`);
}

function show(tile) {
  const { name, transport, state } = tile.device;
  const wanted = $("search").value.trim().toLowerCase();
  const chosen = document.forms[0].elements.state.value;
  return (!chosen || chosen === state) && (!wanted || name.toLowerCase().includes(wanted) || transport === wanted);
}

function repaint() {
  const all = [...tiles.values()];
  if (!sorted) {
    sorted = true;
    all.sort((a, b) => order.compare(a.device.name, b.device.name));
    $("grid").append(...all.map((tile) => tile.node));
  }
  const count = { online: 0, silent: 0, gone: 0 }, carried = { tcp: 0, udp: 0 };
  let lost = 0, shown = 0;
  for (const tile of all) {
    const { device, node } = tile;
    count[device.state] += 1;
    if (device.state !== "gone") carried[device.transport] += 1;
    lost += device.lost;
    const hide = !show(tile);
    if (node.hidden !== hide) node.hidden = hide;
    shown += !hide;
  }
  const now = serverNow();
  for (const tile of dirty) if (tile.visible) { paint(tile); dirty.delete(tile); }
  for (const tile of all) if (tile.visible) paintAge(tile, now);
  put($("count-all"), grouped.format(all.length));
  for (const state in count) put($(`count-${state}`), grouped.format(count[state]));
  $("count-silent").classList.toggle("some", count.silent > 0);
  put($("tcp"), grouped.format(carried.tcp));
  put($("udp"), grouped.format(carried.udp));
  put($("lost"), grouped.format(lost));
  readings.push([performance.now(), fresh]);
  fresh = 0;
  while (readings.length > 2 && readings[1][0] < performance.now() - AVERAGE_MS) readings.shift();
  const came = readings.slice(1).reduce((sum, [, n]) => sum + n, 0);
  put($("rate"), `${grouped.format(Math.round(1000 * came / (performance.now() - readings[0][0] || 1)))}/s`);
  $("empty").hidden = shown > 0;
  if (!shown && all.length) put($("empty"), "No device is so.");
}

function say(state, text) {
  $("status").dataset.state = state;
  document.body.classList.toggle("stale", state === "lost");
  put($("status"), text);
}

let socket, wait = 500;
function connect() {
  socket = new WebSocket(Object.assign(new URL("/live", location), { protocol: location.protocol.replace("http", "ws") }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    heard = performance.now();
    if (message.now_ms === undefined) return take(message);
    offset = message.now_ms - performance.now();
    if (!message.devices) return;
    for (const tile of tiles.values()) tile.node.remove();     // the server may be another than before
    tiles.clear();
    dirty.clear();
    message.devices.forEach(take);
    fresh = 0;
    wait = 500;
    say("live", "Live");
  };
  socket.onclose = () => {
    say("lost", "Disconnected");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 8_000);
  };
}
connect();
setInterval(() => {
  if (socket.readyState === WebSocket.OPEN && heard && performance.now() - heard > STALE_MS) socket.close();
  repaint();
}, PAINT_MS);
document.forms[0].addEventListener("input", repaint);
document.forms[0].addEventListener("submit", (event) => event.preventDefault());
