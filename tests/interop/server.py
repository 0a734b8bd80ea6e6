"""A server on `websockets` or `aiohttp`: prints what it can and its URLs by variant, and serves until it is killed."""

import asyncio
import json
import sys
import urllib.parse

from driver import LIMIT, made

ENDS = {}


def end(name):
    """How the connection of that name ended: a future."""
    return ENDS.setdefault(name, asyncio.get_running_loop().create_future())


def split(target):
    url = urllib.parse.urlsplit(target)
    return url.path, urllib.parse.parse_qs(url.query).get("id", [""])[0]


def answer(path):
    """The status of an answer that refuses; None if there is such a path."""
    if path.startswith("/refused/"):
        return int(path.removeprefix("/refused/"))
    return None if path in ("/echo", "/fragments", "/closed", "/command", "/seen") else 404


async def websockets_server():
    from http import HTTPStatus

    from websockets.asyncio.server import serve
    from websockets.exceptions import ConnectionClosed
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory as Deflate

    def refuse(connection, request):
        status = answer(split(request.path)[0])
        return status and connection.respond(HTTPStatus(status), "no\n")

    def select(connection, offered):
        return "echo.v2" if "echo.v2" in offered else None

    async def handle(socket):
        path, name = split(socket.request.path)
        try:
            if path == "/seen":
                await socket.send(await end(name))
            elif path == "/closed":
                await socket.close(4000, "too early")
            elif path == "/command":
                await obey(socket, json.loads(await socket.recv()))
            async for message in socket:
                third = max(1, -(-len(message) // 3))
                await socket.send([message[:third], message[third : 2 * third], message[2 * third :]] if path == "/fragments" else message)
        except ConnectionClosed:
            pass
        finally:
            await socket.wait_closed()
            if path != "/seen":
                end(name).set_result(json.dumps({"code": socket.close_code, "reason": socket.close_reason}))

    async def obey(socket, command):
        if "close" in command:
            await socket.close(*(command["close"] or [None, ""]))
        elif "abort" in command:
            socket.transport.abort()
        elif "headers" in command:
            await socket.send(" ".join(socket.request.headers.get(name, "") for name in command["headers"]))
        elif "ping" in command:
            await (await socket.ping(command["ping"]))
            await socket.send(f"pong {command['ping']}")
        else:
            await socket.send(made(command))

    print("can server:fragments,server:empty-close,server:limit")
    extensions = {"plain": None, "shared": [Deflate(True, True)], "takeover": [Deflate()], "windows": [Deflate(False, False, 10, 11)]}
    for variant, extension in extensions.items():
        server = await serve(handle, "127.0.0.1", 0, process_request=refuse, select_subprotocol=select, compression=None, extensions=extension, max_size=LIMIT)
        yield variant, server.sockets[0]


async def aiohttp_server():
    from aiohttp import WSMsgType, web

    async def handle(request):
        path, name = split(request.raw_path)
        if (status := answer(path)) is not None:
            return web.Response(status=status, text="no\n")
        socket = web.WebSocketResponse(protocols=["echo.v2"], compress=request.app["compress"], max_msg_size=LIMIT, autoping=False)
        await socket.prepare(request)
        code, reason = await talk(socket, request, path, name)
        if path != "/seen":
            end(name).set_result(json.dumps({"code": code, "reason": reason}))
        return socket

    async def talk(socket, request, path, name):
        """Talks until the end, and gives its code, with the reason if one was told."""
        if path == "/seen":
            await socket.send_str(await end(name))
        elif path == "/closed":
            await socket.close(code=4000, message=b"too early")
        elif path == "/command":
            try:
                await obey(socket, request, json.loads(await socket.receive_str()))
            except ConnectionError:
                pass  # but the close frame that came before may wait to be read
        while True:
            match await socket.receive():
                case (WSMsgType.TEXT, text, _):
                    await socket.send_str(text)
                case (WSMsgType.BINARY, data, _):
                    await socket.send_bytes(data)
                case (WSMsgType.PING, payload, _):
                    await socket.pong(payload)
                case (WSMsgType.PONG, payload, _):
                    await socket.send_str(f"pong {payload.decode()}")
                case (WSMsgType.CLOSE, code, reason):
                    return code or 1005, reason  # it has zero for none
                case _:
                    return socket.close_code or 1006, None

    async def obey(socket, request, command):
        if "close" in command:
            code, reason = command["close"]
            await socket.close(code=code, message=reason.encode())
        elif "abort" in command:
            request.transport.abort()
        elif "headers" in command:
            await socket.send_str(" ".join(request.headers.get(name, "") for name in command["headers"]))
        elif "ping" in command:
            await socket.ping(command["ping"].encode())
        elif isinstance(message := made(command), str):
            await socket.send_str(message)
        else:
            await socket.send_bytes(message)

    print("can server:limit")
    for variant, compress in (("plain", False), ("takeover", True)):
        app = web.Application()
        app["compress"] = compress
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield variant, site._server.sockets[0]


async def main(server):
    async for variant, socket in server():
        print(f"{variant} ws://127.0.0.1:{socket.getsockname()[1]}")
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main({"websockets": websockets_server, "aiohttp": aiohttp_server}[sys.argv[1]]))
