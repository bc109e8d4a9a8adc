#!/usr/bin/env python3
"""Somebody who joins a conference without signing in. It shares nothing with Confab: the INVITE, the challenge and its
answer are written from MS-SIPAE section 4.5 and RFC 7616, the rest from RFC 3261, RFC 4575 and docs/protocol/c3p.md.

    guest.py --server HOST:PORT --conference URI --key KEY --name NAME

It says a line for each thing that came about, and ends when it is put out of the conference.
"""

import argparse
import hashlib
import re
import secrets
import socket
import sys
import xml.etree.ElementTree as xml

CCCP, INFO = "urn:ietf:params:xml:ns:cccp", "urn:ietf:params:xml:ns:conference-info"
PATIENCE = 30.0  # seconds
SDP = ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 5060 sip null\r\n"
       "a=accept-types:text/plain\r\n")


def say(line):
    print(line, flush=True)


class Message:
    """A SIP message as it came."""

    def __init__(self, text, body):
        lines = text.split("\r\n")
        self.start, self.body = lines[0], body
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]

    def all(self, name):
        return [value for known, value in self.headers if known.lower() == name]

    def get(self, name):
        return next(iter(self.all(name)), "")

    @property
    def status(self):
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0") else 0


class Dialog:
    """One dialog of ours: who we are in it, and where its requests go."""

    def __init__(self, guest, target):
        self.guest, self.target = guest, target
        self.remote, self.routes, self.number = f"<{target}>", [], 0
        self.local = f'"{guest.name}" <{guest.address}>;tag={secrets.token_hex(5)};epid={guest.epid}'
        self.call_id, self.authorization = secrets.token_hex(16), None

    def request(self, method, more=(), body="", branch=None):
        if method != "ACK":
            self.number += 1
        self.branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        lines = [f"{method} {self.target} SIP/2.0", f"Via: SIP/2.0/TCP {self.guest.place};branch={self.branch}",
                 "Max-Forwards: 70",
                 *[f"Route: {route}" for route in self.routes], f"From: {self.local}", f"To: {self.remote}",
                 f"Call-ID: {self.call_id}", f"CSeq: {self.number} {method}",
                 f"Contact: <{self.guest.address};transport=tcp>;proxy=replace;"
                 f"+sip.instance=\"<urn:uuid:{self.guest.instance}>\""]
        if self.authorization and method != "ACK":
            lines.append(f"Authorization: {self.authorization(method)}")
        lines += [*more, f"Content-Length: {len(body.encode())}", "", body]
        self.guest.send("\r\n".join(lines))

    def acknowledge(self, refusal=None):
        """The ACK of a refusal belongs to its INVITE; that of a 2xx is a request of its own."""
        before = self.remote
        if refusal:
            self.remote = refusal.get("to")
        self.request("ACK", branch=self.branch if refusal else None)
        self.remote = before

    def established(self, response):
        self.remote = response.get("to")
        self.target = re.search(r"<([^>]*)>", response.get("contact")).group(1)
        self.routes = list(reversed(response.all("record-route")))


class Guest:
    """The person and his connection."""

    def __init__(self, arguments):
        self.name, self.key, self.conference = arguments.name, arguments.key, arguments.conference
        self.organizer = self.conference.removeprefix("sip:").split(";")[0]
        self.address = f"sip:{secrets.token_hex(16)}@anonymous.invalid"
        self.epid, self.instance = secrets.token_hex(6), "5a9f5b3c-6f0e-5d21-9d0f-0123456789ab"
        host, port = arguments.server.rsplit(":", 1)
        self.stream = socket.create_connection((host, int(port)), PATIENCE)
        self.place = "{}:{}".format(*self.stream.getsockname()[:2])
        self.buffer, self.unread, self.commands = b"", [], 0

    def send(self, text):
        self.stream.sendall(text.encode())

    def receive(self):
        while True:
            self.buffer = self.buffer.lstrip(b"\r\n")
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if found:
                message = Message(head.decode(), b"")
                length = int(message.get("content-length") or message.get("l") or 0)
                if len(rest) >= length:
                    message.body, self.buffer = rest[:length], rest[length:]
                    return message
            more = self.stream.recv(65536)
            if not more:
                sys.exit("the server has hung up")
            self.buffer += more

    def wait(self, what, wanted):
        """The first message that fits; requests are answered 200 as they come, and kept for later."""
        for index, message in enumerate(self.unread):
            if wanted(message):
                return self.unread.pop(index)
        while True:
            try:
                message = self.receive()
            except TimeoutError:
                sys.exit(f"{what} never came")
            if not message.status and not message.start.startswith(("ACK", "BENOTIFY")):
                echo = [f"{name}: {value}" for name, value in message.headers
                        if name.lower() in ("via", "from", "to", "call-id", "cseq")]
                self.send("\r\n".join(["SIP/2.0 200 OK", *echo, "Content-Length: 0", "", ""]))
            if wanted(message):
                return message
            self.unread.append(message)

    def answer(self, dialog, method, status):
        fits = lambda message: (message.status >= 200 and message.get("call-id") == dialog.call_id
                                and message.get("cseq").endswith(method))
        response = self.wait(f"the answer to {method}", fits)
        if response.status != status:
            sys.exit(f"{method} was answered {response.start}, not {status}: {response.get('warning')}")
        return response

    def incoming(self, method, wanted=lambda message: True):
        return self.wait(method, lambda message: message.start.startswith(method + " ") and wanted(message))

    def challenge(self, response):
        """What the first WWW-Authenticate asks: it must be what an OCS client expects."""
        asked = response.get("www-authenticate")
        scheme, rest = asked.split(" ", 1)
        found = {name.lower(): quoted or plain for name, quoted, plain in re.findall(r'([\w-]+)=(?:"([^"]*)"|([^",\s]+))', rest)}
        good = (scheme == "Digest" and found["realm"] == self.organizer and found["algorithm"] == "MD5-sess"
                and found["qop"] == "auth" and re.fullmatch(r"[0-9A-Fa-f]{8}", found["opaque"]) and found["nonce"])
        if not good:
            sys.exit(f"this is no challenge for an anonymous person: {asked}")
        return found

    def authorization(self, asked, key):
        """Answers for one nonce: MD5-sess keeps the key of the first answer (RFC 7616 section 3.4.2)."""
        digest = lambda text: hashlib.md5(text.encode()).hexdigest()
        user, cnonce, count = self.address.removeprefix("sip:").split("@")[0], secrets.token_hex(8), 0
        session = digest(f"{digest(f'{user}:{self.organizer}:{key}')}:{asked['nonce']}:{cnonce}")

        def answer(method):
            nonlocal count
            count += 1
            used = f"{asked['nonce']}:{count:08x}:{cnonce}:auth"
            response = digest(f"{session}:{used}:{digest(f'{method}:{self.conference}')}")
            return (f'Digest username="{user}", realm="{self.organizer}", qop=auth, algorithm=MD5-sess, '
                    f'uri="{self.conference}", nonce="{asked["nonce"]}", nc={count:08x}, cnonce="{cnonce}", '
                    f'opaque="{asked["opaque"]}", response="{response}"')
        return answer

    def document(self, command):
        self.commands += 1
        return (f'<request xmlns="{CCCP}" xmlns:ci="{INFO}" C3PVersion="1" requestId="{self.commands}" '
                f'to="{self.conference}" from="{self.address}">{command}</request>')

    def join(self):
        """Steps 3 and 4, with the challenge of MS-SIPAE: first nothing, then a wrong key, then the right one."""
        self.focus = Dialog(self, self.conference)
        # The example of MS-SIPAE writes To without brackets.
        self.focus.remote = self.conference
        body = self.document(
            f'<addUser><conferenceKeys confEntity="{self.conference}"/><ci:user entity="{self.address}"><ci:roles>'
            '<ci:entry>attendee</ci:entry></ci:roles><ci:endpoint entity="{0F5B1A60-0000-4000-8000-00000000A017}"/>'
            '</ci:user></addUser>')
        headers = ["Content-Type: application/cccp+xml"]
        for key, line in ((None, "challenged"), ("not " + self.key, "a wrong key is refused")):
            if key:
                self.focus.authorization = self.authorization(asked, key)
            self.focus.request("INVITE", headers, body)
            response = self.answer(self.focus, "INVITE", 401)
            asked = self.challenge(response)
            self.focus.acknowledge(response)
            say(line)
        self.focus.authorization = self.authorization(asked, self.key)
        self.focus.request("INVITE", headers, body)
        response = self.answer(self.focus, "INVITE", 200)
        answer = xml.fromstring(response.body)
        roles = [entry.text for entry in answer.iter(f"{{{INFO}}}entry")]
        if answer.get("code") != "success" or roles != ["attendee"]:
            sys.exit(f"not let in as an attendee: {response.body.decode()}")
        self.focus.established(response)
        self.focus.acknowledge()
        say(f"in as {self.address}")

    def watch(self):
        self.events = Dialog(self, self.conference)
        self.events.authorization = self.focus.authorization
        self.events.request("SUBSCRIBE", [
            "Event: conference", "Accept: application/conference-info+xml", "Supported: ms-benotify",
            "Supported: ms-piggyback-first-notify", "Supported: com.microsoft.autoextend"])
        response = self.answer(self.events, "SUBSCRIBE", 200)
        self.events.established(response)
        if self.key.encode() in response.body or b"conference-key" in response.body:
            sys.exit("the conference key is told to everybody")
        people = [user.get("entity") for user in xml.fromstring(response.body).iter(f"{{{INFO}}}user")]
        say(f"sees {' '.join(sorted(person for person in people if person != self.address))}")

    def chat(self):
        """Step 8."""
        self.im = Dialog(self, self.conference.replace("app:conf:focus:id:", "app:conf:chat:id:"))
        self.im.authorization = self.focus.authorization
        self.im.request("INVITE", ["Content-Type: application/sdp", "Supported: ms-sender"], SDP)
        self.im.established(self.answer(self.im, "INVITE", 200))
        self.im.acknowledge()
        self.im.request("MESSAGE", ["Content-Type: text/plain"], "hello, I am new here")
        self.answer(self.im, "MESSAGE", 202)
        heard = self.incoming("MESSAGE")
        say(f"heard {heard.body.decode()} from {heard.get('ms-sender').strip('<>')}")

    def try_elsewhere(self):
        """Nothing but the conference is within reach."""
        factory = self.conference.split(";opaque")[0] + ";opaque=app:conf:focusfactory"
        elsewhere = (("MESSAGE", "sip:" + self.organizer, "3021"), ("SERVICE", factory, "3020"),
                     ("REGISTER", "sip:" + self.organizer.split("@")[1], "3021"))
        for method, target, number in elsewhere:
            dialog = Dialog(self, target)
            dialog.request(method)
            given = self.answer(dialog, method, 403).get("ms-diagnostics").split(";")[0]
            if given != number:
                sys.exit(f"{method} to {target} was refused with {given}, not {number}")
        say("refused elsewhere")

    def lead(self):
        """An attendee may not lock; a presenter may."""
        lock = (f'<modifyConferenceLock><conferenceKeys confEntity="{self.conference}"/><locked>true</locked>'
                '</modifyConferenceLock>')
        headers = ["Content-Type: application/cccp+xml"]
        self.focus.request("INFO", headers, self.document(lock))
        self.answer(self.focus, "INFO", 403)
        say("may not lock")

        def promoted(notification):
            users = xml.fromstring(notification.body).iter(f"{{{INFO}}}user") if notification.body else ()
            ours = [user for user in users if user.get("entity") == self.address]
            return any(entry.text == "presenter" for user in ours for entry in user.iter(f"{{{INFO}}}entry"))
        self.incoming("BENOTIFY", promoted)
        say("is presenter")
        self.focus.request("INFO", headers, self.document(lock))
        self.answer(self.focus, "INFO", 202)
        final = self.incoming("INFO", lambda info: b"modifyConferenceLock" in info.body)
        if xml.fromstring(final.body).get("code") != "success":
            sys.exit(f"the lock failed: {final.body.decode()}")
        say("has locked")

    def stay(self):
        bye = self.incoming("BYE", lambda bye: bye.get("call-id") == self.focus.call_id)
        say(f"put out: {bye.get('reason')}")


def main():
    parser = argparse.ArgumentParser()
    for name in ("server", "conference", "key", "name"):
        parser.add_argument(f"--{name}", required=True)
    guest = Guest(parser.parse_args())
    guest.join()
    guest.watch()
    guest.chat()
    guest.try_elsewhere()
    guest.lead()
    guest.stay()


main()
