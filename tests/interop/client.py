"""A client by name: `websockets` or `aiohttp`. What the server can, and its URLs by variant, are in INTEROP."""

import asyncio
import sys

from driver import LIMIT, Refused, drive, short


class Websockets:
    abilities = {"client:ping", "client:fragments", "client:empty-close", "client:limit", "client:compress"}

    def __init__(self, offer):
        from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

        self.options = {
            "off": {"compression": None},
            "default": {},
            "no takeover": {"compression": None, "extensions": [Deflate(True, True)]},
            "windows 12 and 13": {"compression": None, "extensions": [Deflate(False, False, 12, 13)]},
        }[offer]

    async def open(self, url, subprotocols):
        from websockets import InvalidStatus, connect

        try:
            self.socket = await connect(url, subprotocols=subprotocols, max_size=LIMIT, proxy=None, **self.options)
        except InvalidStatus as error:
            raise Refused(error.response.status_code) from None
        return WebsocketsConnection(self.socket)


class WebsocketsConnection:
    def __init__(self, socket):
        self.socket, self.subprotocol = socket, socket.subprotocol
        self.send = socket.send
        [self.agreed] = [
            short(each.remote_no_context_takeover, each.local_no_context_takeover, each.remote_max_window_bits, each.local_max_window_bits)
            for each in socket.protocol.extensions
        ] or ["none"]

    async def receive(self):
        return await self.socket.recv()

    async def fragments(self, message):
        third = max(1, -(-len(message) // 3))
        await self.socket.send([message[:third], message[third : 2 * third], message[2 * third :]])

    async def ping(self, payload):
        await (await self.socket.ping(payload))
        return payload  # whose pong it was, the library has checked

    async def close(self, code, reason):
        await self.socket.close(None if code == 1005 else code, reason)

    async def closed(self):
        await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason


class Aiohttp:
    abilities = {"client:ping", "client:limit", "client:compress"}

    def __init__(self, offer):
        self.compress = {"off": 0, "default": 15, "window 12": 12}[offer]

    async def open(self, url, subprotocols):
        import aiohttp

        session = aiohttp.ClientSession()
        try:
            socket = await session.ws_connect(url, protocols=subprotocols or (), compress=self.compress, max_msg_size=LIMIT, autoping=False)
        except aiohttp.WSServerHandshakeError as error:
            await session.close()
            raise Refused(error.status) from None
        return AiohttpConnection(session, socket)


class AiohttpConnection:
    def __init__(self, session, socket):
        self.session, self.socket, self.subprotocol = session, socket, socket.protocol
        self.agreed, self.end = "none", None
        if socket.compress:
            answer = socket._response.headers["Sec-WebSocket-Extensions"]
            parts = dict((part + "=").split("=")[:2] for part in answer.replace(" ", "").split(";"))
            bits = lambda name: int(parts.get(name) or 15)
            self.agreed = short("server_no_context_takeover" in parts, socket.client_notakeover, bits("server_max_window_bits"), socket.compress)

    async def send(self, message):
        await (self.socket.send_str(message) if isinstance(message, str) else self.socket.send_bytes(message))

    async def receive(self):
        from aiohttp import WSMsgType

        while (message := await self.socket.receive()).type is WSMsgType.PING:
            await self.socket.pong(message.data)
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            self.end = (self.socket.close_code, message.extra if message.type is WSMsgType.CLOSE else None)
            raise EOFError(f"{message.type.name} where a message was awaited")
        return message.data

    async def ping(self, payload):
        await self.socket.ping(payload.encode())
        return (await self.socket.receive()).data.decode()

    async def close(self, code, reason):
        await self.socket.close(code=code, message=reason.encode())
        await self.session.close()

    async def closed(self):
        if not self.socket.closed:
            try:
                await self.receive()
                raise AssertionError("a message where the end was awaited")
            except EOFError:
                pass
        await self.session.close()
        return self.end or (self.socket.close_code, None)


if __name__ == "__main__":
    name = sys.argv[1]
    sys.exit(not asyncio.run(drive(name, {"websockets": Websockets, "aiohttp": Aiohttp}[name])))
