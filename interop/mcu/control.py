"""The control link: HTTP/1.1 POST over mutual TLS, and the documents that it carries."""

import asyncio
import secrets
import ssl
import xml.etree.ElementTree as xml

CCCP = "urn:ietf:params:xml:ns:cccp"
MSCP = "http://schemas.microsoft.com/rtc/2005/08/cccpextensions"
INFO = "urn:ietf:params:xml:ns:conference-info"
MSCI = "http://schemas.microsoft.com/rtc/2005/08/confinfoextensions"
CONTROL = "urn:confab:params:xml:ns:mcu-control"
for prefix, namespace in [("", CCCP), ("mscp", MSCP), ("ci", INFO), ("msci", MSCI), ("mcu", CONTROL)]:
    xml.register_namespace(prefix, namespace)
CCCP_TYPE, INFO_TYPE, HEALTH_TYPE = (
    f"application/{name}+xml" for name in ("cccp", "conference-info", "mcu-control"))

FRONT_END = "frontend.confab.internal"  # what a front end's certificate names
HEAD_LIMIT, BODY_LIMIT = 64 * 1024, 4 * 1024 * 1024
ANSWER_LIMIT = 10.0  # seconds


def tls(files, purpose):
    """Mutual TLS with the three files that `confab cert immcu` has written into the folder `files`."""
    context = ssl.SSLContext(purpose)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files / "immcu.pem", files / "immcu-key.pem")
    context.load_verify_locations(files / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def is_front_end(writer):
    """Whether the peer is a front end. Its chain was checked in the handshake; its role is among its names."""
    names = writer.get_extra_info("peercert").get("subjectAltName", ())
    return ("DNS", FRONT_END) in names


async def read_http(reader):
    """The start line, the headers by lower-case name, and the body of one message; None at the end of the stream."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = int(headers.get("content-length", "0"))
    if len(head) > HEAD_LIMIT or not 0 <= length <= BODY_LIMIT:
        raise ValueError("too long")
    return lines[0], headers, await reader.readexactly(length)


async def answer_posts(reader, writer, handle):
    """Serves one connection: `handle(path, kind, body)` gives a status and a body."""
    try:
        while message := await read_http(reader):
            start, headers, body = message
            method, path, _ = start.split(" ", 2)
            status, text = 405, b""
            if not is_front_end(writer):
                status, text = 403, b"Only a front end may command a conferencing server."
            elif method == "POST":
                status, text = handle(path, headers.get("content-type", "").lower(), body)
            kind = f"content-type: {CCCP_TYPE}\r\n" if status == 200 else ""
            writer.write(f"HTTP/1.1 {status} -\r\n{kind}content-length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        print(f"control connection ended: {error!r}", flush=True)
    writer.close()


class Poster:
    """Posts documents to a front end, one after the other, over one connection that is kept."""

    def __init__(self, context):
        self.context, self.streams = context, None

    async def post(self, url, kind, body):
        """The HTTP status; None when there is no answer in time."""
        try:
            return await asyncio.wait_for(self.exchange(url, kind, body), ANSWER_LIMIT)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError):
            self.close()
            return None

    async def exchange(self, url, kind, body):
        place, slash, path = url.removeprefix("https://").partition("/")
        head = f"POST {slash}{path} HTTP/1.1\r\nhost: {place}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        while True:
            kept = self.streams is not None
            if not kept:
                host, port = place.rsplit(":", 1)
                # The role's name, not the host's: that is what the certificate vouches for.
                self.streams = await asyncio.open_connection(
                    host.strip("[]"), int(port), ssl=self.context, server_hostname=FRONT_END, limit=HEAD_LIMIT)
            reader, writer = self.streams
            writer.write(head.encode() + body)
            if answer := await read_http(reader):
                return int(answer[0].split()[1])
            self.close()
            if not kept:
                raise EOFError("closed without an answer")  # a kept one may just have been closed

    def close(self):
        if self.streams:
            self.streams[1].close()
        self.streams = None


INSTANCE = secrets.token_hex(8)  # another one after each start


def health(url, conferences, people, status="normal"):
    root = xml.Element(f"{{{CONTROL}}}health", {
        "url": url, "media": "chat", "status": status, "conferences": str(conferences), "participants": str(people),
        "vendor": "a test in Python", "instance": INSTANCE})
    return xml.tostring(root)


def connection_info(entries):
    root = xml.Element(f"{{{MSCP}}}connection-info")
    for key, value in entries.items():
        entry = xml.SubElement(root, f"{{{MSCP}}}entry")
        xml.SubElement(entry, f"{{{MSCP}}}key").text = key
        xml.SubElement(entry, f"{{{MSCP}}}value").text = value
    return root


def connection_value(command, wanted):
    for entry in command.iter(f"{{{MSCP}}}entry"):
        if entry.findtext(f"{{{MSCP}}}key", "").lower() == wanted.lower():
            return entry.findtext(f"{{{MSCP}}}value")
    return None


def response(request, command, reason=None, parts=()):
    """The answer to a C3P request with one command: success with `parts`, or failure for a `reason`."""
    root = xml.Element(f"{{{CCCP}}}response", {
        "C3PVersion": "1", "requestId": request.get("requestId", "0"), "from": request.get("to", ""),
        "to": request.get("from", ""), "code": "failure" if reason else "success"})
    done = xml.SubElement(root, command.tag, {"reason": reason} if reason else {})
    done.extend(parts)
    return xml.tostring(root)
