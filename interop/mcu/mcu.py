#!/usr/bin/env python3
"""A conferencing server (MCU) for instant messages that shares nothing with Confab: it is written from
docs/protocol/control-link.md and the RFCs, to show that they are enough. It calls nobody itself (dialed-out).

    mcu.py --factory https://HOST:PORT --control HOST:PORT --sip HOST:PORT --certificates FOLDER
"""

import argparse
import asyncio
import json
import pathlib
import re
import secrets
import signal
import ssl
import time
import uuid
import xml.etree.ElementTree as xml

from control import (CCCP, CCCP_TYPE, CONTROL, HEALTH_TYPE, INFO, INFO_TYPE, MSCI, Poster, answer_posts, connection_info,
                     connection_value, health, is_front_end, response, tls)
from sip import HEAD_LIMIT, Dialog, Link, uri_of, tag_of

PATH = "/LiveServer/IMMCU/"
HEALTH_PERIOD, HEALTH_LIMIT = 1.0, 4.0  # seconds
INVITE_WAIT = 60.0
NUMBERS_SKIPPED = 1 << 20  # a successor numbers on from beyond what its predecessor has sent
PEOPLE_LIMIT, CONFERENCE_LIMIT = 1000, 1000
ALLOW = ("allow", "INVITE, ACK, CANCEL, BYE, MESSAGE, INFO, OPTIONS")


class Leg:
    """An endpoint of a person: expected, or in a dialog."""

    def __init__(self, user, entity, text, roles):
        self.user, self.entity, self.text, self.roles = user, entity, text, roles
        self.dialog, self.link, self.connected, self.timer = None, None, False, None

    def document(self):
        endpoint = xml.Element(f"{{{INFO}}}endpoint", {"entity": self.entity, f"{{{MSCI}}}session-type": "chat"})
        xml.SubElement(endpoint, f"{{{INFO}}}status").text = "connected" if self.connected else "pending"
        xml.SubElement(endpoint, f"{{{INFO}}}joining-method").text = "dialed-in"
        media = xml.SubElement(endpoint, f"{{{INFO}}}media", {"id": "1"})
        xml.SubElement(media, f"{{{INFO}}}type").text = "chat"
        if self.connected:
            xml.SubElement(endpoint, f"{{{CONTROL}}}handover").text = json.dumps({"python": vars(self.dialog)})
        return endpoint

    def take_over(self, handover):
        """Goes on in the dialog that a server of our make has handed over; another's text says nothing to us."""
        try:
            self.dialog = Dialog(**json.loads(handover)["python"])
        except (ValueError, TypeError, KeyError):
            return False
        self.dialog.number += NUMBERS_SKIPPED
        self.connected = True
        return True


class Conference:
    """One conference: its legs, and what the Focus is told of them."""

    def __init__(self, server, entity, focus_url, locked):
        self.server, self.entity, self.focus_url, self.locked = server, entity, focus_url, locked
        self.uri = entity.replace("app:conf:focus:id:", "app:conf:chat:id:")
        self.token, self.version, self.legs = secrets.token_hex(16), 0, []
        self.posts = asyncio.Queue()
        self.courier = asyncio.create_task(self.carry())

    async def carry(self):
        """Posts to the Focus, one document after the other."""
        poster = Poster(self.server.outward)
        while (body := await self.posts.get()) is not None:
            if await poster.post(self.focus_url, INFO_TYPE, body) == 404:
                # The Focus is over, and then deleteConference is on its way; or it has another server.
                asyncio.get_running_loop().call_later(HEALTH_LIMIT, self.server.forget, self)
                break
        poster.close()

    def tell(self, user):
        """Tells the Focus of one person, with all the endpoints that he has here."""
        self.version += 1
        self.posts.put_nowait(xml.tostring(self.info("partial", [user])))

    def info(self, state, people):
        root = xml.Element(f"{{{INFO}}}conference-info", {
            "entity": self.entity, "state": state, "version": str(max(self.version, 1))})
        users = xml.SubElement(root, f"{{{INFO}}}users", {"state": state})
        for user in people:
            legs = [leg for leg in self.legs if leg.user == user]
            person = xml.SubElement(users, f"{{{INFO}}}user", {"entity": user, "state": "full" if legs else "deleted"})
            if legs:
                xml.SubElement(person, f"{{{INFO}}}display-text").text = legs[0].text
                roles = xml.SubElement(person, f"{{{INFO}}}roles")
                for role in legs[0].roles:
                    xml.SubElement(roles, f"{{{INFO}}}entry").text = role
                person.extend(leg.document() for leg in legs)
        return root

    # What the Focus commands. Each gives the parts of its answer, or raises the reason why not.

    def command(self, command):
        verb = getattr(self, "do_" + command.tag.removeprefix(f"{{{CCCP}}}"), None)
        if verb is None:
            raise LookupError("notSupported")
        keys = command.find(f"{{{CCCP}}}userKeys")
        keys = keys if keys is not None else command.find(f"{{{CCCP}}}conferenceKeys")
        if keys is not None and keys.get("confEntity", self.entity) != self.entity:
            raise LookupError("conferenceDoesntExist")
        return verb(command, keys)

    def do_addUser(self, command, keys):
        person = command.find(f"{{{INFO}}}user")
        endpoint = person.find(f"{{{INFO}}}endpoint") if person is not None else None
        if endpoint is None:
            raise LookupError("requestMalformed")
        if endpoint.findtext(f"{{{INFO}}}joining-method", "dialed-in") != "dialed-in":
            raise LookupError("notSupported")
        if len(self.legs) >= PEOPLE_LIMIT:
            raise LookupError("serverBusy")
        user, entity = person.get("entity"), endpoint.get("entity")
        if not any((leg.user, leg.entity) == (user, entity) for leg in self.legs):
            self.add(person, endpoint, user, entity)
        answer = xml.Element(f"{{{INFO}}}user", {"entity": user})
        named = xml.SubElement(answer, f"{{{INFO}}}endpoint", {"entity": entity})
        xml.SubElement(named, f"{{{INFO}}}joining-method").text = "dialed-in"
        where = connection_info({"Mcu-Server-Uri": self.server.uri, "Mcu-Conference-Uri": self.uri})
        return [xml.Element(f"{{{CCCP}}}conferenceKeys", {"confEntity": self.entity}), answer, where]

    def add(self, person, endpoint, user, entity):
        roles = [entry.text for entry in person.iterfind(f"{{{INFO}}}roles/{{{INFO}}}entry")]
        leg = Leg(user, entity, person.findtext(f"{{{INFO}}}display-text"), roles or ["attendee"])
        if not leg.take_over(endpoint.findtext(f"{{{CONTROL}}}handover", "")):
            leg.timer = asyncio.get_running_loop().call_later(INVITE_WAIT, self.remove, leg)
        self.legs.append(leg)
        self.tell(user)

    def do_deleteUser(self, _command, keys):
        legs = self.legs_of(keys)
        for leg in legs:
            self.hang_up(leg, "You were removed from the conference.")
        return []

    def do_modifyUserRoles(self, command, keys):
        roles = [entry.text for entry in command.iterfind(f"{{{INFO}}}user-roles/{{{INFO}}}entry")]
        for leg in self.legs_of(keys):
            leg.roles = roles
        self.tell(keys.get("userEntity"))
        return []

    def do_modifyConferenceLock(self, command, _keys):
        self.locked = command.findtext(f"{{{CCCP}}}locked") == "true"
        return []

    def do_getConference(self, _command, _keys):
        return [self.info("full", {leg.user: None for leg in self.legs})]

    def do_deleteConference(self, _command, _keys):
        for leg in list(self.legs):
            self.hang_up(leg, "The conference has ended.")
        self.server.forget(self)
        return []

    def legs_of(self, keys):
        legs = [leg for leg in self.legs if keys is not None and leg.user == keys.get("userEntity")]
        if not legs:
            raise LookupError("userDoesntExist")
        return legs

    # What participants send.

    def request(self, link, request):
        leg = next((leg for leg in self.legs if leg.dialog and leg.dialog.has(request)), None)
        if leg is None:
            if request.method == "INVITE" and not tag_of(request.get("to")):
                self.invited(link, request)
            elif request.method != "ACK":
                link.send(request.answer(481))
            return
        leg.link = link
        if request.method == "ACK":
            return self.connect(leg)
        if request.number() <= leg.dialog.seen:
            return link.send(request.answer(500))
        leg.dialog.seen = request.number()
        if request.method in ("MESSAGE", "INFO"):
            link.send(request.answer(200))
            self.connect(leg)
            self.relay(leg, request)
        elif request.method == "BYE":
            link.send(request.answer(200))
            self.remove(leg)
        elif request.method == "INVITE":
            link.send(request.answer(200, *self.session()))
        else:
            link.send(request.answer(405, [ALLOW]))

    def invited(self, link, request):
        user = uri_of(request.get("p-asserted-identity"))
        leg = next((leg for leg in self.legs if leg.user == user and not leg.dialog), None)
        if leg is None:
            return link.send(request.answer(403, tag=secrets.token_hex(8)))
        if b"m=message " not in request.body:
            return link.send(request.answer(488, tag=secrets.token_hex(8)))
        tag = secrets.token_hex(8)
        leg.dialog, leg.link = Dialog.of_invite(request, tag), link
        leg.timer.cancel()
        asyncio.create_task(self.accept(leg, request.answer(200, *self.session(), tag=tag)))

    async def accept(self, leg, answer):
        """Repeats the 200 until its ACK comes (RFC 3261 section 13.3.1.4)."""
        pause = 0.5
        while not leg.connected and leg in self.legs:
            if pause > 32:
                return self.hang_up(leg, "The session was not acknowledged.")
            leg.link.send(answer)
            await asyncio.sleep(pause)
            pause *= 2

    def session(self):
        host, port = self.server.sip.rsplit(":", 1)
        lines = ["v=0", f"o=- 0 0 IN IP4 {host}", "s=session", f"c=IN IP4 {host}", "t=0 0",
                 f"m=message {port} sip {self.uri}", "a=accept-types:text/plain text/html application/im-iscomposing+xml"]
        headers = [("contact", f"<{self.uri}>;isfocus"), ("supported", "ms-sender"), ALLOW,
                   ("content-type", "application/sdp")]
        return headers, "".join(line + "\r\n" for line in lines).encode()

    def connect(self, leg):
        if not leg.connected:
            leg.connected = True
            print(f"connected {leg.user}", flush=True)
            self.tell(leg.user)

    def relay(self, author, request):
        headers = [("ms-sender", f"<{author.user}>"), ("content-type", request.get("content-type", "text/plain"))]
        for leg in self.legs:
            if leg.dialog and leg is not author:
                asyncio.create_task(self.send(leg, request.method, headers, request.body))

    async def send(self, leg, method, headers=(), body=b""):
        if leg.link is None or not leg.link.open:
            leg.link = self.server.newest_link()
        status = await leg.link.ask(leg.dialog.request(method, headers, body)) if leg.link else 408
        gone = status == 481 or (status == 408 and method == "MESSAGE")
        if gone and leg in self.legs:
            self.remove(leg)

    def hang_up(self, leg, why):
        if leg.dialog:
            asyncio.create_task(self.send(leg, "BYE", [("reason", f'SIP;text="{why}"')]))
        self.remove(leg)

    def remove(self, leg):
        if leg in self.legs:
            self.legs.remove(leg)
            self.tell(leg.user)


class Server:
    """The MCU: its conferences, its links to front ends, its health."""

    def __init__(self, words):
        self.factory = words.factory + "/LiveServer/MCUFactory/"
        self.base, self.sip, self.uri = f"https://{words.control}{PATH}", words.sip, f"sip:{words.sip};transport=tls"
        self.outward = tls(words.certificates, ssl.PROTOCOL_TLS_CLIENT)
        self.inward = tls(words.certificates, ssl.PROTOCOL_TLS_SERVER)
        self.conferences, self.links, self.taken = {}, [], time.monotonic()

    async def run(self, control):
        for place, connected in [(control, self.controlled), (self.sip, self.linked)]:
            host, port = place.rsplit(":", 1)
            await asyncio.start_server(connected, host, int(port), ssl=self.inward, limit=HEAD_LIMIT)
        print("ready", flush=True)
        poster = Poster(self.outward)
        while True:
            sent = time.monotonic()
            people = sum(len(conference.legs) for conference in self.conferences.values())
            if await poster.post(self.factory, HEALTH_TYPE, health(self.base, len(self.conferences), people)) == 204:
                self.check_lease()
                self.taken = sent
            self.check_lease()
            await asyncio.sleep(HEALTH_PERIOD)

    def check_lease(self):
        """Whose health was not taken for four seconds has been replaced: its conferences go on elsewhere."""
        if time.monotonic() - self.taken > HEALTH_LIMIT:
            for conference in list(self.conferences.values()):
                self.forget(conference)
                # Should the factory have heard us after all, then the Focus learns of it by this.
                lost = health(self.base, 0, 0, "unavailable")
                asyncio.create_task(Poster(self.outward).post(conference.focus_url, HEALTH_TYPE, lost))

    def forget(self, conference):
        """Without a word to the participants."""
        if self.conferences.pop(conference.token, None):
            conference.posts.put_nowait(None)
            conference.legs.clear()
            print(f"over {conference.entity}", flush=True)

    async def controlled(self, reader, writer):
        await answer_posts(reader, writer, self.posted)

    def posted(self, path, kind, body):
        self.check_lease()
        token = path.removeprefix(PATH)
        conference = self.conferences.get(token)
        if not path.startswith(PATH) or (token and conference is None):
            return 404, b""
        try:
            request = xml.fromstring(body)
            [command] = request
        except (xml.ParseError, ValueError):
            return 400, b"This is no C3P with one command."
        if kind != CCCP_TYPE:
            return 400, b"This is not C3P."
        try:
            return 200, response(request, command, parts=conference.command(command) if conference else self.add(command))
        except LookupError as reason:
            return 200, response(request, command, reason=str(reason.args[0]))

    def add(self, command):
        info = command.find(f"{{{INFO}}}conference-info")
        focus_url = connection_value(command, "Focus-Url")
        if command.tag != f"{{{CCCP}}}addConference" or info is None or focus_url is None:
            raise LookupError("requestMalformed")
        if len(self.conferences) >= CONFERENCE_LIMIT:
            raise LookupError("serverBusy")
        locked = info.findtext(f"{{{INFO}}}conference-state/{{{INFO}}}locked") == "true"
        conference = Conference(self, info.get("entity"), focus_url, locked)
        self.conferences[conference.token] = conference
        print(f"conference {conference.entity}", flush=True)
        answer = xml.Element(f"{{{INFO}}}conference-info", {"entity": conference.entity})
        return [answer, connection_info({
            "Mcu-Control-Url": self.base + conference.token, "Mcu-Conference-Uri": conference.uri,
            "Mcu-Server-Uri": self.uri})]

    async def linked(self, reader, writer):
        if not is_front_end(writer):
            return writer.close()
        link = Link(reader, writer, self.sip, self.routed)
        self.links = [*(known for known in self.links if known.open), link]
        await link.run()

    def newest_link(self):
        return next((link for link in reversed(self.links) if link.open), None)

    def routed(self, link, request):
        """A request goes to the conference that its URI names."""
        self.check_lease()
        named = re.search(r"app:conf:chat:id:([^;>?]+)", request.uri)
        conference = next((known for known in self.conferences.values()
                           if named and known.uri.endswith(f":{named[1]}")), None)
        if conference:
            conference.request(link, request)
        elif request.method != "ACK":
            link.send(request.answer(481))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, what in [("--factory", "where the front end takes health, https://HOST:PORT"),
                       ("--control", "where to take commands, HOST:PORT"), ("--sip", "where to take SIP, HOST:PORT")]:
        parser.add_argument(name, required=True, help=what)
    parser.add_argument("--certificates", required=True, type=pathlib.Path, help="what `confab cert immcu` has written")
    asyncio.run(serve(parser.parse_args()))


async def serve(words):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    try:
        await Server(words).run(words.control)
    except asyncio.CancelledError:
        print("ended", flush=True)


if __name__ == "__main__":
    main()
