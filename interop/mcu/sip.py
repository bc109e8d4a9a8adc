"""As much SIP (RFC 3261) as an MCU needs on its link to a front end: messages, framing, dialogs, requests of its own."""

import asyncio
import secrets

COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type"}
REASONS = {200: "OK", 403: "Forbidden", 405: "Method Not Allowed", 481: "Call/Transaction Does Not Exist",
           488: "Not Acceptable Here", 500: "Server Internal Error"}
HEAD_LIMIT, BODY_LIMIT = 64 * 1024, 256 * 1024
TRANSACTION_LIMIT = 32.0  # seconds, 64 * T1


class Message:
    """A request (`method`, `uri`) or a response (`status`), with its headers in order."""

    def __init__(self, start, headers=(), body=b""):
        self.start, self.headers, self.body = start, list(headers), body
        words = start.split(" ", 2)
        self.status = int(words[1]) if words[0] == "SIP/2.0" else None
        self.method, self.uri = (None, None) if self.status else (words[0], words[1])

    @staticmethod
    def parse(head):
        lines = head.decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                name = name.strip().lower()
                headers.append((COMPACT.get(name, name), value.strip()))
        return Message(lines[0], headers)

    def get(self, name, default=""):
        return next((value for known, value in self.headers if known == name), default)

    def all(self, name):
        """The values of a header that is a list, one by one."""
        return [value for known, line in self.headers if known == name for value in split_list(line)]

    def number(self):
        return int(self.get("cseq").split()[0])

    def to_bytes(self):
        lines = [self.start, *(f"{name.title()}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body

    def answer(self, status, headers=(), body=b"", tag=None):
        """The response to this request."""
        to = self.get("to")
        if tag and not tag_of(to):
            to += f";tag={tag}"
        copied = [(name, value) for name, value in self.headers if name in ("via", "record-route", "from", "call-id", "cseq")]
        return Message(f"SIP/2.0 {status} {REASONS[status]}", [*copied, ("to", to), *headers], body)


def split_list(line):
    """Splits at the commas that stand neither in quotes nor in brackets."""
    parts, quoted, brackets = [""], False, 0
    for char in line:
        quoted ^= char == '"'
        brackets += 0 if quoted else (char == "<") - (char == ">")
        if char == "," and not quoted and not brackets:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def uri_of(value):
    """The URI in a From, To, Contact or P-Asserted-Identity."""
    if "<" in value:
        return value.split("<", 1)[1].split(">", 1)[0]
    return value.split(";", 1)[0].strip()


def tag_of(value):
    after = value.rsplit(">", 1)[-1]
    return next((part.strip()[4:] for part in after.split(";") if part.strip().lower().startswith("tag=")), None)


class Dialog:
    """The callee's side of a dialog (RFC 3261 section 12)."""

    def __init__(self, call_id, local, remote, target, routes, number=0, seen=0):
        self.call_id, self.local, self.remote, self.target, self.routes = call_id, local, remote, target, routes
        self.number, self.seen = number, seen

    @staticmethod
    def of_invite(invite, tag):
        return Dialog(invite.get("call-id"), f"{invite.get('to')};tag={tag}", invite.get("from"),
                      uri_of(invite.get("contact")), invite.all("record-route"), seen=invite.number())

    def has(self, request):
        return (self.call_id, tag_of(self.local), tag_of(self.remote)) == (
            request.get("call-id"), tag_of(request.get("to")), tag_of(request.get("from")))

    def request(self, method, headers=(), body=b""):
        self.number += 1
        return Message(f"{method} {self.target} SIP/2.0", [
            ("max-forwards", "70"), *(("route", route) for route in self.routes), ("from", self.local), ("to", self.remote),
            ("call-id", self.call_id), ("cseq", f"{self.number} {method}"), *headers], body)


class Link:
    """A connection from a front end. `handle(link, request)` gets the requests; `ask` sends ours."""

    def __init__(self, reader, writer, sent_by, handle):
        self.reader, self.writer, self.sent_by, self.handle = reader, writer, sent_by, handle
        self.open, self.asked = True, {}

    async def run(self):
        try:
            while message := await self.read():
                if message.status is None:
                    self.handle(self, message)
                elif message.status >= 200 and (waiting := self.asked.pop(self.branch(message), None)):
                    waiting.done() or waiting.set_result(message.status)
        except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError) as error:
            print(f"link ended: {error!r}", flush=True)
        self.open = False
        self.writer.close()

    async def read(self):
        """The next message. Two line ends are a keep-alive (RFC 5626 section 3.5.1) and are answered by one."""
        line = await self.reader.readline()
        while line == b"\r\n":
            if await self.reader.readline() != b"\r\n":
                raise ValueError("half a keep-alive")
            self.writer.write(b"\r\n")
            line = await self.reader.readline()
        if not line:
            return None
        head = line + await self.reader.readuntil(b"\r\n\r\n")
        message = Message.parse(head)
        length = int(message.get("content-length", "0"))
        if len(head) > HEAD_LIMIT or not 0 <= length <= BODY_LIMIT:
            raise ValueError("a message is too long")
        message.body = await self.reader.readexactly(length)
        return message

    def send(self, message):
        if self.open:
            self.writer.write(message.to_bytes())

    async def ask(self, request):
        """Sends a request of ours and gives the final status; 408 when there is none."""
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        request.headers.insert(0, ("via", f"SIP/2.0/TLS {self.sent_by};branch={branch}"))
        self.asked[branch] = asyncio.get_running_loop().create_future()
        self.send(request)
        try:
            return await asyncio.wait_for(self.asked[branch], TRANSACTION_LIMIT)
        except asyncio.TimeoutError:
            return 408
        finally:
            self.asked.pop(branch, None)

    @staticmethod
    def branch(response):
        parts = response.get("via").split(";")
        return next((part.strip()[7:] for part in parts if part.strip().startswith("branch=")), None)
