// /watch sends text and binary messages. Text is lines: JOINED <id> <name>, LEFT <id>, CHAT <name> <text>; the first
// message has a JOINED for everybody who is there. A binary message is a frame, 20 a second: the tick (4 bytes), then
// for each player its id, x and y (2 bytes each), all big-endian. A frame that is skipped costs nothing.

const WIDTH = 16_000, HEIGHT = 9_000, TICK_MS = 1000 / 60;
const TRAIL = 12;                // places of a player that are drawn behind it
const LINES = 200;
const SPEECH_MS = 4_000;         // how long what somebody said stands beside it
const STALE_MS = 3_000;

const $ = (id) => document.getElementById(id);
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const grouped = new Intl.NumberFormat("en-US");
const names = new Map();         // by id
const players = new Map();       // by id: { x, y, trail, hue }
const speech = new Map();        // by name: { text, until }
let before = null, latest = null; // the two newest frames: { tick, at, places }
let frames = [], heard = 0;

function takeFrame(buffer) {
  const view = new DataView(buffer);
  const places = new Map();
  for (let at = 4; at + 6 <= view.byteLength; at += 6) places.set(view.getUint16(at), [view.getUint16(at + 2), view.getUint16(at + 4)]);
  const now = performance.now();
  before = latest;
  latest = { tick: view.getUint32(0), at: now, places };
  frames.push(now);
  for (const id of players.keys()) if (!places.has(id)) players.delete(id);
  for (const [id, place] of places) {
    const player = players.get(id) ?? { trail: [], hue: (id * 137.508) % 360 };
    players.set(id, player);
    player.trail.push(place);
    if (player.trail.length > TRAIL) player.trail.shift();
  }
}

// Between two frames players are drawn on the way from the one to the other, a frame's time late: smooth at any rate.
function placeOf(id, now) {
  const to = latest.places.get(id), from = before?.places.get(id) ?? to;
  const part = before ? Math.min(1, (now - latest.at) / ((latest.tick - before.tick) * TICK_MS)) : 1;
  return [from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part];
}

const canvas = $("canvas"), context = canvas.getContext("2d");
function draw() {
  requestAnimationFrame(draw);
  const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight, now = performance.now();
  if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
  const scale = width / WIDTH, style = getComputedStyle(document.documentElement), color = (name) => style.getPropertyValue(name);
  const light = color("--light"), radius = Math.max(2.5, width / 240);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.strokeStyle = color("--grid");
  context.lineWidth = 1;
  context.beginPath();
  for (let x = 1_000; x < WIDTH; x += 1_000) { context.moveTo(x * scale, 0); context.lineTo(x * scale, height); }
  for (let y = 1_000; y < HEIGHT; y += 1_000) { context.moveTo(0, y * scale); context.lineTo(width, y * scale); }
  context.stroke();
  if (!latest) return;
  const spoken = [];
  for (const [id, { trail, hue }] of players) {
    const [x, y] = placeOf(id, now);
    context.strokeStyle = `hsl(${hue} 70% ${light} / .35)`;
    context.lineWidth = radius * .8;
    context.beginPath();
    trail.slice(0, -1).forEach(([tx, ty], i) => context[i ? "lineTo" : "moveTo"](tx * scale, ty * scale));
    context.lineTo(x * scale, y * scale);
    context.stroke();
    context.fillStyle = `hsl(${hue} 75% ${light})`;
    context.beginPath();
    context.arc(x * scale, y * scale, radius, 0, 7);
    context.fill();
    const said = speech.get(names.get(id));
    if (said && said.until > now) spoken.push([x * scale, y * scale, `${names.get(id)}: ${said.text}`]);
  }
  context.font = "12px system-ui, sans-serif";
  for (const [x, y, text] of spoken) {
    const long = Math.min(context.measureText(text).width, 240) + 12;
    const left = Math.max(4, Math.min(x + 8, width - long - 4)), top = Math.max(4, y - 26);
    context.fillStyle = color("--card");
    context.strokeStyle = color("--line");
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(left, top, long, 20, 6);
    context.fill();
    context.stroke();
    context.fillStyle = color("--text");
    context.fillText(text, left + 6, top + 14, 240);
  }
}

function add(...parts) {
  const list = $("chat"), atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  const line = document.createElement("li");
  line.append(...parts);
  list.append(line);
  while (list.children.length > LINES) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
  return line;
}
function takeLine(line) {
  const [, word, who, text] = /^(\w+) (\S+) ?(.*)$/.exec(line) ?? [];
  if (word === "JOINED") names.set(Number(who), text);
  if (word === "LEFT") names.delete(Number(who));
  if (word !== "CHAT") return;
  const name = document.createElement("b");
  name.textContent = who;
  const id = [...names].find(([, n]) => n === who)?.[0];
  if (id !== undefined) name.style.setProperty("--hue", (id * 137.508) % 360);
  add(name, ` ${text}`);
  speech.set(who, { text, until: performance.now() + SPEECH_MS });
  if (speech.size > LINES) speech.delete(speech.keys().next().value);
}

function say(state, text) {
  $("status").dataset.state = state;
  document.body.classList.toggle("stale", state === "lost");
  put($("status"), text);
}

let socket, wait = 500;
function connect() {
  socket = new WebSocket(Object.assign(new URL("/watch", location), { protocol: location.protocol.replace("http", "ws") }));
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { names.clear(); wait = 500; heard = performance.now(); say("live", "Live"); };
  socket.onmessage = ({ data }) => {
    heard = performance.now();
    if (typeof data === "string") data.split("\n").forEach(takeLine); else takeFrame(data);
  };
  socket.onclose = () => {
    say("lost", "Disconnected");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 8_000);
  };
}
connect();
draw();
setInterval(() => {
  const now = performance.now();
  if (socket.readyState === WebSocket.OPEN && now - heard > STALE_MS) socket.close();   // a frame comes 20 times a second
  frames = frames.filter((at) => at > now - 2_000);
  put($("frames"), `${Math.round(frames.length / 2)}/s`);
  put($("players"), grouped.format(latest?.places.size ?? 0));
  put($("tick"), grouped.format(latest?.tick ?? 0));
}, 250);
