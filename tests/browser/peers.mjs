// Peers that make the page's figures move: plain TCP, UDP and heartbeat clients.
import net from "node:net";
import dgram from "node:dgram";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { until, within } from "./wait.mjs";

async function connect(port) {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {});                           // a server that is killed resets its peers
  await within(5_000, `a connection to port ${port}`, once(socket, "connect"));
  return socket;
}

/// A TCP client that counts what comes back.
export async function tcpPeer(port) {
  const socket = await connect(port);
  const peer = { socket, received: 0, close: () => socket.destroy() };
  socket.on("data", (data) => { peer.received += data.length; });
  peer.echo = async (size) => {
    const want = peer.received + size;
    socket.write(Buffer.alloc(size, "switchboard "));
    await until(`${size} bytes to come back`, async () => peer.received >= want);
  };
  return peer;
}

/// Sends `count` datagrams of `size` bytes, each once the one before has come back.
export async function udpExchange(port, count, size) {
  const socket = dgram.createSocket("udp4");
  try {
    for (let i = 0; i < count; i += 1) {
      socket.send(Buffer.alloc(size, i), port, "127.0.0.1");
      const [data] = await within(5_000, `datagram ${i}`, once(socket, "message"));
      if (data.length !== size || data[0] !== i % 256) throw new Error(`datagram ${i} came back changed`);
    }
  } finally {
    socket.close();
  }
}

/// A heartbeat client: answers each PING.
export async function heartbeatPeer(port) {
  const socket = await connect(port);
  createInterface({ input: socket }).on("line", (line) => {
    const [, number] = /^PING (\d+)$/.exec(line) ?? [];
    if (number) socket.write(`PONG ${number}\n`);
  }).on("error", () => {});
  return { socket, name: `127.0.0.1:${socket.localPort}`, close: () => socket.destroy() };
}
