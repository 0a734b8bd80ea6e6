"""Runs the cases of cases.json on a client of either library, which an adapter makes alike."""

import asyncio
import itertools
import json
import os
import pathlib
import time

HERE = pathlib.Path(__file__).resolve().parent
LIMIT = 3 * 512 * 1024
ORDER = ["plain", "shared", "takeover", "windows"]


class Refused(Exception):
    """The server has answered with another status than 101."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


async def drive(name, adapter):
    """Prints a line for each case. Returns whether all passed.

    `adapter(options)` has `abilities`, and `open(url, subprotocols)` gives a connection with `subprotocol`, `agreed`,
    `send(message)`, `fragments(message)`, `receive()`, `ping(payload)`, `close(code, reason)` and `closed()`.
    """
    can, servers = other_side()
    cases = json.loads((HERE / "cases.json").read_text())
    cases = [case for case in cases if os.environ.get("INTEROP_CASES", "") in case["name"]]
    agreed = json.loads((HERE / "agreed.json").read_text())[name]
    offers = [offer for offer in agreed if os.environ.get("INTEROP_OFFERS") in (None, offer)]
    passed, uncompressed = True, False
    for offer, (variant, url) in itertools.product(offers, servers.items()):
        expected = agreed[offer][ORDER.index(variant)] if variant in ORDER else "none"
        able = [case for case in cases if all(need in can | adapter.abilities for need in case.get("needs", []))]
        for wanted in able[:1] if expected == "none" and uncompressed else able:  # what is not compressed once
            try:
                async with asyncio.timeout(20):
                    await Talk(wanted, url, adapter(offer)).run(expected)
                print(f"ok {offer} to {variant}: {wanted['name']}", flush=True)
            except Exception as error:
                passed = False
                print(f"FAIL {offer} to {variant}: {wanted['name']}: {type(error).__name__} {error}", flush=True)
        uncompressed = uncompressed or expected == "none"
    return passed


def other_side():
    """What the server can, and its URLs by variant."""
    pairs = dict(pair.split("=", 1) for pair in os.environ["INTEROP"].split(" "))
    return set(pairs.pop("can").split(",")), pairs


class Talk:
    """One case."""

    count = itertools.count()

    def __init__(self, wanted, url, client):
        self.wanted, self.url, self.client = wanted, url, client
        self.id = f"{time.time_ns()}-{next(self.count)}"

    async def run(self, agreed):
        wanted = self.wanted
        path = "/command" if "command" in wanted else wanted.get("path", "/echo")
        try:
            connection = await self.client.open(f"{self.url}{path}?id={self.id}", wanted.get("offer"))
        except Refused as refused:
            return same("the status", refused.status, wanted.get("status"))
        if "status" in wanted:
            raise AssertionError("it was to be refused")
        same("the subprotocol", connection.subprotocol, wanted.get("subprotocol"))
        same("the compression", connection.agreed, agreed)
        await self.converse(connection)

        ends = wanted.get("close", [1000, "done"])
        if ends:
            await connection.close(*ends)
        code, reason = await connection.closed()
        told = wanted.get("closed") or [ends[0], None]  # the reason need not be repeated
        agree("what the client is told", (code, reason), told)
        await self.look_back(wanted.get("seen") or ends or [told[0], None], agreed)

    async def converse(self, connection):
        wanted = self.wanted
        if "ping" in wanted:
            same("the pong", await connection.ping(wanted["ping"]), wanted["ping"])
        if "command" in wanted:
            await connection.send(json.dumps(wanted["command"]))
        if "answer" in wanted:
            same("the answer", await connection.receive(), wanted["answer"])
        await asyncio.sleep(wanted.get("idle", 0) / 1000)
        messages = [made(message) for message in wanted.get("messages", []) for _ in range(message.get("times", 1))]
        send = connection.fragments if wanted.get("fragmented") else connection.send
        if wanted.get("close", True) is None:  # too big: the answer is a close frame
            for message in messages:
                await send(message)
            return
        if wanted.get("pipelined"):
            sending = asyncio.gather(*map(send, messages))
            for message in messages:
                same("the echo", await connection.receive(), message)
            await sending
            return
        for message in messages:
            await send(message)
            same("the echo", await connection.receive(), message)

    async def look_back(self, expected, agreed):
        """Asks the server how the connection ended there."""
        connection = await self.client.open(f"{self.url}/seen?id={self.id}", None)
        seen = json.loads(await connection.receive())
        await connection.close(1000, "")
        agree("what the server is told", (seen["code"], seen["reason"]), expected)
        if self.wanted.get("compressible") and "sent" in seen:
            small = [count < 100_000 for count in (seen["sent"], seen["received"])]
            same("whether server and client compressed", small, [agreed != "none"] * 2)


PHRASE = "añ€𝄞"  # ten bytes of UTF-8


def made(message):
    """The message that a case describes: text as it is or of so many bytes, binary with a pattern or without."""
    if "text" in message:
        text = message["text"]
        return text if isinstance(text, str) else PHRASE * (text // 10) + "x" * (text % 10)
    if "binary" in message:
        return bytes(range(251)) * (message["binary"] // 251) + bytes(range(message["binary"] % 251))
    state, result = 1, bytearray()
    for _ in range(message["random"]):
        state = (state * 1103515245 + 12345) % 2**32
        result.append(state >> 24)
    return bytes(result)


def short(server_forgets, client_forgets, server_bits, client_bits):
    """What was agreed on, in brief; windows of 15 bits are what is agreed on if nothing is said."""
    bits = [f"{letter}{bits}" for letter, bits in (("S", server_bits), ("C", client_bits)) if bits not in (None, 15)]
    return " ".join(["deflate", *["s"] * bool(server_forgets), *["c"] * bool(client_forgets), *bits])


def same(what, actual, expected):
    if actual != expected:
        raise AssertionError(f"{what}: {str(actual)[:100]!r}, not {str(expected)[:100]!r}")


def agree(what, actual, expected):
    """A code and a reason; None stands for any, and for what the library does not tell."""
    for part, wanted in zip(actual, expected):
        if part is not None and wanted is not None:
            same(what, part, wanted)
