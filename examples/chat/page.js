// The page's side of the chat. What it is told and what it asks: see `Told` and `Ask` in rooms.rs.
// Whatever others have written is put into the page as text, never as HTML.

const KEPT = 500;                       // messages of a room
const FIRST_WAIT = 500, LONGEST_WAIT = 15_000;
const $ = (id) => document.getElementById(id);

let socket, wait = FIRST_WAIT, timer;
let name = sessionStorage.name ?? "";   // as asked for
let known = false;                      // the server has taken it
let attempts = 0;                       // how often it was asked for again, without the reader
let here = null;                        // the room that is shown
let said = "";                          // what was sent last, until it is known to have gone out
const rooms = new Map();                // name -> { names, count, lines, unread, number, item, badge, atEnd }
const wanted = new Set(JSON.parse(sessionStorage.rooms ?? "[]"));

// ---- The connection ----

function connect() {
  clearTimeout(timer);
  status("connecting", "Connecting");
  const ws = socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/chat`);
  ws.onopen = () => {
    status("live", "Connected");
    if (!name || !wanted.size) return;
    attempts += 1;
    ask({ do: "name", name });
  };
  ws.onmessage = ({ data }) => { if (ws === socket) told(JSON.parse(data)); };
  ws.onclose = ({ code, reason }) => {
    if (ws !== socket) return;
    known = false;
    for (const room of rooms.values()) room.isAway = true;
    retry(code === 1001 ? "The server stops" : reason || "Connection lost");
  };
}

/// Tries again after a while: longer from time to time, and never all pages at once.
function retry(why) {
  const delay = wait * (.5 + Math.random() / 2);
  wait = Math.min(2 * wait, LONGEST_WAIT);
  status("lost", `${why}. Trying again`);
  timer = setTimeout(connect, delay);
}

function ask(request) {
  const open = socket?.readyState === WebSocket.OPEN;
  if (open) socket.send(JSON.stringify(request));
  return open;
}

addEventListener("online", () => { if (socket.readyState > WebSocket.OPEN) connect(); });

// ---- What the server tells ----

const tell = {
  welcome(it) {
    [name, known, attempts, wait] = [it.name, true, 0, FIRST_WAIT];
    sessionStorage.name = name;
    $("me").textContent = name;
    for (const room of wanted) ask({ do: "join", room });
  },
  room(it) {
    const isNew = !rooms.has(it.room);
    const room = rooms.get(it.room) ?? add(it.room);
    room.names = new Set(it.names);
    room.count = it.count;
    if (room.isAway) {
      [room.isAway, room.number] = [false, null];
      note(it.room, "You were away: what was said meanwhile is not here");
    }
    wanted.add(it.room);
    remember();
    $("enter").hidden = true;
    $("talk").hidden = false;
    if (isNew && (here === null || it.room === $("another").value.trim())) show(it.room);
    if (it.room === $("another").value.trim()) $("another").value = "";
    people();
  },
  parted(it) { drop(it.room); },
  joined(it) {
    come(it, (names) => names.add(it.name));
    note(it.room, `${it.name} has joined`);
  },
  left(it) {
    come(it, (names) => names.delete(it.name));
    note(it.room, `${it.name} has left`);
  },
  message(it) {
    const room = rooms.get(it.room);
    if (!room) return;
    if (it.name === name) said = "";
    const missed = room.number === null ? 0 : it.number - room.number - 1;
    room.number = it.number;
    if (missed > 0) line(room, "missed", `${missed} message${missed > 1 ? "s" : ""} missed: this connection is slow`);
    const item = line(room, it.name === name ? "mine" : "", it.text, it.name);
    item.dataset.number = it.number;
    if (it.room !== here || document.hidden) {
      room.unread += 1;
      badge(room);
    }
  },
  error(it) {
    if (known) {
      $("error").textContent = it.text;
      $("text").value ||= said;
      said = "";
      return;
    }
    // After a loss, or a reload, the name may still be held by the connection that was lost.
    if (attempts > 0 && attempts < 5 && it.text.includes("taken")) {
      socket.onclose = null;
      socket.close();
      return retry(`The name ${name} is still taken`);
    }
    attempts = 0;
    $("talk").hidden = true;
    $("enter").hidden = false;
    $("enter-error").textContent = it.text;
    wanted.clear();
    remember();
    $("name").select();
  },
};
function told(it) { tell[it.is]?.(it); }

function come(it, change) {
  const room = rooms.get(it.room);
  if (!room) return;
  change(room.names);
  room.count = it.count;
  people();
}

// ---- Rooms ----

function add(room) {
  const button = document.createElement("button"), label = document.createElement("span"), count = document.createElement("b");
  label.textContent = room;
  button.type = "button";
  button.append(label, count);
  button.onclick = () => show(room);
  const item = document.createElement("li");
  item.append(button);
  $("rooms").append(item);
  const it = { names: new Set(), count: 0, lines: [], unread: 0, number: null, isAway: false, item, badge: count };
  rooms.set(room, it);
  return it;
}

function drop(room) {
  rooms.get(room)?.item.remove();
  rooms.delete(room);
  wanted.delete(room);
  remember();
  if (here === room) {
    here = null;
    const next = rooms.keys().next().value;
    if (next) return show(next);
    $("talk").hidden = true;
    $("enter").hidden = false;
    $("name").disabled = known;
    $("room").focus();
  }
}

function show(name) {
  here = name;
  const room = rooms.get(name);
  for (const [other, { item }] of rooms) item.firstChild.setAttribute("aria-current", other === name);
  room.unread = 0;
  badge(room);
  $("title").textContent = name;
  $("error").textContent = "";
  $("log").replaceChildren(...room.lines);
  $("log").scrollTop = $("log").scrollHeight;
  $("newer").hidden = true;
  $("who").open = false;
  people();
  if (matchMedia("(pointer: fine)").matches) $("text").focus();
}

function badge(room) {
  room.badge.textContent = room.unread || "";
  const all = [...rooms.values()].reduce((sum, { unread }) => sum + unread, 0);
  document.title = all ? `(${all}) Chat` : "Chat";
}

function people() {
  const room = rooms.get(here);
  if (!room) return;
  $("count").textContent = `${room.count} here`;
  const rows = [...room.names].sort((a, b) => a.localeCompare(b)).map((text) => element("li", "", text));
  if (room.count > rows.length) rows.push(element("li", "hint", `and ${room.count - rows.length} more`));
  $("names").replaceChildren(...rows);
}

function remember() { sessionStorage.rooms = JSON.stringify([...wanted]); }

// ---- Lines ----

function element(tag, kind, text) {
  const it = document.createElement(tag);
  it.className = kind;
  it.textContent = text;
  return it;
}

function line(room, kind, text, from) {
  const item = element("li", kind, "");
  const now = new Date();
  const time = element("time", "", now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = now.toISOString();
  item.append(time);
  if (from !== undefined) {
    const who = element("span", "from", from);
    who.style.setProperty("--hue", hue(from));
    item.append(who);
  }
  const body = element("span", "text", text);
  body.dir = "auto";
  item.append(body);
  room.lines.push(item);
  const log = $("log"), shown = rooms.get(here) === room;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const old = room.lines.length > KEPT ? room.lines.shift() : null;
  if (shown) {
    old?.remove();
    log.append(item);
    if (atEnd || kind === "mine") log.scrollTop = log.scrollHeight;
    else $("newer").hidden = false;
  }
  return item;
}

function note(name, text) {
  const room = rooms.get(name);
  if (room) line(room, "note", text);
}

function hue(text) {
  let sum = 0;
  for (const c of text) sum = (sum * 31 + c.codePointAt(0)) % 360;
  return sum;
}

function status(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
  for (const button of document.querySelectorAll("#say button, #enter button, #more button")) button.disabled = state !== "live";
}

// ---- What the reader does ----

$("enter").onsubmit = (event) => {
  event.preventDefault();
  $("enter-error").textContent = "";
  const room = $("room").value.trim();
  if (known) return ask({ do: "join", room });
  name = $("name").value.trim();
  wanted.add(room);
  ask({ do: "name", name });
};
$("more").onsubmit = (event) => {
  event.preventDefault();
  const room = $("another").value.trim();
  $("error").textContent = "";
  if (rooms.has(room)) { $("another").value = ""; show(room); } else if (room) ask({ do: "join", room });
};
$("say").onsubmit = (event) => {
  event.preventDefault();
  $("error").textContent = "";
  const text = $("text").value;
  if (text.trim() && ask({ do: "say", room: here, text })) [said, $("text").value] = [text, ""];
};
$("leave").onclick = () => ask({ do: "leave", room: here });
$("who").ontoggle = () => { if ($("who").open) ask({ do: "who", room: here }); };  // large rooms tell nobody who comes and goes
$("newer").onclick = () => { $("log").scrollTop = $("log").scrollHeight; };
$("log").onscroll = () => {
  const log = $("log");
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) $("newer").hidden = true;
};
document.addEventListener("visibilitychange", () => {
  const room = rooms.get(here);
  if (room && !document.hidden) { room.unread = 0; badge(room); }
});
document.addEventListener("click", (event) => { if (!$("who").contains(event.target)) $("who").open = false; });
$("name").value = name;
connect();
