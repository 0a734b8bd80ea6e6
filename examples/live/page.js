// Watches: puts the picture together from key frames and changes, checks it, draws it, and says ok to each frame.
// What a frame is made of: see main.rs and demo.rs.

const COLOURS = [[16, 20, 26], [106, 165, 255], [240, 166, 74], [92, 201, 141], [224, 108, 196]];
const FIRST_WAIT = 500, LONGEST_WAIT = 15_000, KEY = 1;
const $ = (id) => document.getElementById(id);

let socket, wait = FIRST_WAIT;
let held = false, owed = 0;             // frames that are not answered, while it does not watch
let cells = null, width = 0, height = 0, image = null, context = null, isDrawn = true;
let number = 0, restarts = 0, skipped = 0, wrong = 0;
let arrivals = [], since = 0;           // when the frames of the last two seconds came, and the first of all
let least = Infinity;                   // the least time that any frame took, by two clocks that nobody has set alike
let lag = 0;

function connect() {
  status("connecting", "Connecting");
  const ws = socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/watch`);
  ws.binaryType = "arraybuffer";
  ws.onopen = () => { [wait, owed, number, since] = [FIRST_WAIT, 0, 0, performance.now()]; status("live", "Connected"); };
  ws.onmessage = ({ data }) => {
    take(new DataView(data));
    if (held) owed += 1; else ws.send("ok");
  };
  ws.onclose = ({ code }) => {
    const delay = wait * (.5 + Math.random() / 2);
    wait = Math.min(2 * wait, LONGEST_WAIT);
    least = Infinity;                   // it may be another server, with a clock of its own
    status("lost", `${code === 1001 ? "The server stops" : "Connection lost"}. Trying again`);
    setTimeout(connect, delay);
  };
}

function take(frame) {
  const isKey = frame.getUint8(0) === KEY;
  const at = Number(frame.getBigUint64(1));
  if (number && at !== number + 1) {
    restarts += 1;
    skipped += at - number - 1;
  }
  number = at;
  lag = time(frame.getUint32(9));
  if (isKey) key(frame); else if (cells) change(frame);
  if (cells && checksum() !== frame.getUint32(13)) wrong += 1;
  if (isDrawn) {
    isDrawn = false;
    requestAnimationFrame(draw);
  }
}

function key(frame) {
  if (width !== frame.getUint16(17) || height !== frame.getUint16(19)) {
    [width, height] = [frame.getUint16(17), frame.getUint16(19)];
    [$("picture").width, $("picture").height] = [width, height];
    context = $("picture").getContext("2d");
    image = context.createImageData(width, height);
  }
  cells = new Uint8Array(frame.buffer, 21, width * height).slice();
  cells.forEach(paint);
}

function change(frame) {
  for (let i = 21; i + 3 <= frame.byteLength; i += 3) {
    const at = frame.getUint16(i), cell = frame.getUint8(i + 2);
    cells[at] = cell;
    paint(cell, at);
  }
}

function paint(cell, at) {
  const [red, green, blue] = COLOURS[cell % COLOURS.length];
  image.data.set([red, green, blue, 255], 4 * at);
}

/// FNV-1a, 32 bits.
function checksum() {
  let sum = 0x811c9dc5;
  for (const cell of cells) sum = Math.imul(sum ^ cell, 0x01000193);
  return sum >>> 0;
}

/// How much longer than the fastest frame this one took, in ms.
function time(millis) {
  const now = performance.now();
  arrivals.push(now);
  const took = now - millis;
  least = Math.min(least, took);
  return took - least;
}

function draw() {
  isDrawn = true;
  if (!image) return;
  context.putImageData(image, 0, 0);
  $("nothing").hidden = true;
  $("frame").textContent = number;
}

/// The figures change at a pace that can be read.
setInterval(() => {
  const now = performance.now();
  arrivals = arrivals.filter((at) => at > now - 2000);
  if (!number) return;
  const rate = arrivals.length / (Math.min(now - since, 2000) / 1000);
  $("rate").textContent = rate.toFixed(rate < 10 ? 1 : 0);
  $("lag").textContent = arrivals.length ? `${Math.round(lag)}\u00a0ms` : "–";
  $("restarts").textContent = restarts;
  $("skipped").textContent = skipped;
  $("checked").textContent = wrong ? `${wrong} wrong` : "right";
  $("checked").classList.toggle("bad", wrong > 0);
}, 250);

function status(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

$("hold").onclick = () => {
  held = !held;
  $("hold").setAttribute("aria-pressed", held);
  $("hold").textContent = held ? "Watch again" : "Stop watching";
  for (; !held && owed > 0 && socket.readyState === WebSocket.OPEN; owed -= 1) socket.send("ok");
};
connect();
