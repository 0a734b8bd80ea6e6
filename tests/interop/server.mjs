// A server on `ws`: prints what it can and its URLs by variant, and serves until it is killed.
import http from "node:http";
import { once } from "node:events";
import { WebSocketServer } from "ws";
import { made } from "./driver.mjs";

const LIMIT = 1.5 * 1024 * 1024;
const variants = { plain: false, shared: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
  takeover: { threshold: 0 }, windows: { threshold: 0, serverMaxWindowBits: 10, clientMaxWindowBits: 11 } };

const ends = new Map();
const waiting = new Map();

function tell(id, end) {
  ends.set(id, JSON.stringify(end));
  waiting.get(id)?.(ends.get(id));
  waiting.delete(id);
}

const routes = {
  "/echo": (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })),
  "/fragments": (socket) => socket.on("message", (data, binary) => {
    const third = Math.ceil(data.length / 3);
    socket.send(data.subarray(0, third), { fin: false, binary });
    socket.ping("between");
    socket.send(data.subarray(third, 2 * third), { fin: false, binary });
    socket.send(data.subarray(2 * third), { fin: true, binary });
  }),
  "/closed": (socket) => socket.close(4000, "too early"),
  "/seen": (socket, id) => ends.has(id) ? socket.send(ends.get(id)) : waiting.set(id, (end) => socket.send(end)),
  "/command": (socket, id, request) => socket.once("message", (data) => {
    const command = JSON.parse(data);
    if (command.close) socket.close(...command.close);
    else if (command.close === null) socket.close();
    else if (command.abort) socket.terminate();
    else if (command.headers) socket.send(command.headers.map((name) => request.headers[name]).join(" "));
    else if (command.ping) {
      socket.once("pong", (payload) => socket.send(`pong ${payload}`));
      socket.ping(command.ping);
    } else socket.send(made(command));
  }),
};

console.log("can server:fragments,server:empty-close,server:limit");
for (const [variant, perMessageDeflate] of Object.entries(variants)) {
  const accept = new WebSocketServer({ noServer: true, perMessageDeflate, maxPayload: LIMIT, handleProtocols: (offered) => offered.has("echo.v2") && "echo.v2" });
  const server = http.createServer().on("upgrade", (request, stream, head) => {
    const { pathname, searchParams } = new URL(request.url, "ws://any");
    const route = routes[pathname], id = searchParams.get("id");
    if (!route) {
      const status = pathname.startsWith("/refused/") ? pathname.slice(9) : 404;
      return stream.end(`HTTP/1.1 ${status} No\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n`);
    }
    accept.handleUpgrade(request, stream, head, (socket) => {
      socket.on("error", () => {});                             // a close event follows
      if (pathname !== "/seen") socket.on("close", (code, reason) => tell(id, { code, reason: `${reason}`, received: stream.bytesRead, sent: stream.bytesWritten }));
      route(socket, id, request);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  console.log(`${variant} ws://127.0.0.1:${server.address().port}`);
}
console.log("ready");
