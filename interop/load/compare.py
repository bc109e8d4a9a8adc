"""Measures the mixing of Confab beside a bare mixer (refmix.c) and Debian's Janus, all in one run, and prints one table.

compare.py CONFAB CONFAB-LOAD REFMIX [PART...]; parts: big (1x200), small (50x4), full (1x1000 and 400x4), srtp, opus, joins; all of
them without one. Each server is on the second processor, the load generator on the first, both in front of everything else if this
user may (SCHED_RR). A run whose generator was late says nothing: it is repeated, and void in the end."""
import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SECONDS = 8
TRIES = 3
THEIRS, OURS = 20000, 40000  # the generator's first port for sound, and refmix's
JANUS = "http://127.0.0.1:8188/janus"
DOMAIN = "bench.test"
SIP = 15060

CONFIG = f"""
domain = "{DOMAIN}"
auth = []
[front_end]
listen = ["udp:127.0.0.1:{SIP}", "tcp:127.0.0.1:{SIP}"]
max_connections_per_address = 20000
[conferences]
max_participants = 2000
large_meeting = 50
"""


class Failed(Exception):
    """A server or the generator did not do what it should."""


def first_of(*commands):
    """The first of these prefixes that may be used here."""
    for command in commands:
        if command and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


BESIDE = first_of(["chrt", "-r", "1", "taskset", "-c", "1"], ["taskset", "-c", "1"])
GENERATOR = first_of(["chrt", "-r", "1", "taskset", "-c", "0"], ["taskset", "-c", "0"])


@contextlib.contextmanager
def started(command, ready, **more):
    """A process on the second processor, until the end of the block; `ready` stands in a line when it can be used, or is a
    function that says so."""
    with open(os.path.join(FOLDER, os.path.basename(command[0]) + ".log"), "ab") as log:
        process = subprocess.Popen(
            [*BESIDE, *command], stdout=subprocess.PIPE, stderr=log, text=True, errors="replace", **more
        )
        try:
            if callable(ready):
                if not wait_until(ready):
                    raise Failed(f"{command[0]} did not start")
            elif not any(ready in line for line in process.stdout):
                raise Failed(f"{command[0]} did not start: {open(log.name).read()[-500:]}")
            threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(ready, seconds=15):
    for _ in range(seconds * 10):
        if ready():
            return True
        time.sleep(0.1)
    return False


def generate(pid, conferences, size, *more):
    command = [*GENERATOR, LOAD, "--pid", str(pid), "--conferences", str(conferences), "--size", str(size)]
    command += ["--duration", str(SECONDS), *more]
    run = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(run.stdout)
    except json.JSONDecodeError:
        raise Failed(f"the generator ended with {run.returncode}: {run.stderr[-500:]}") from None


def confab(conferences, size, *more):
    folder = tempfile.mkdtemp(dir=FOLDER)
    config = os.path.join(folder, "confab.toml")
    with open(config, "w") as file:
        file.write(CONFIG)
    environment = {**os.environ, "CONFAB_LOG": "warn"}
    with started([CONFAB, "serve", "--config", config, "--data", folder], "ready", env=environment) as pid:
        call = ["--server", f"127.0.0.1:{SIP}", "--factory", f"sip:conference@{DOMAIN}"]
        call += ["--from", f"sip:load{{n}}@{DOMAIN}", "--rate", "100"]
        return generate(pid, conferences, size, *call, *more)


def remotes(lines):
    path = os.path.join(FOLDER, "remotes")
    with open(path, "w") as file:
        file.writelines(line + "\n" for line in lines)
    return ["--remotes", path]


def refmix(conferences, size, *more):
    with started([REFMIX, str(conferences), str(size)], "ready") as pid:
        there = [f"127.0.0.1:{OURS + 2 * person} 0" for person in range(conferences * size)]
        return generate(pid, conferences, size, *remotes(there), *more)


def ask(url, **request):
    body = json.dumps({**request, "transaction": "t"}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def janus_listens():
    try:
        return ask(JANUS, janus="info") is not None
    except OSError:
        return False


def join(person, size, codec):
    """One plain RTP participant of Janus' AudioBridge: its session, and where it is spoken to."""
    session = ask(JANUS, janus="create")["data"]["id"]
    handle = ask(f"{JANUS}/{session}", janus="attach", plugin="janus.plugin.audiobridge")["data"]["id"]
    room, payload_type = 1000 + person // size, 0 if codec == "pcmu" else 111
    at = f"{JANUS}/{session}/{handle}"
    if person % size == 0:
        rate = 8000 if codec == "pcmu" else 16000
        body = {"request": "create", "room": room, "sampling_rate": rate, "allow_rtp_participants": True}
        ask(at, janus="message", body=body)
    rtp = {"ip": "127.0.0.1", "port": THEIRS + 2 * person, "payload_type": payload_type}
    # Its best: by default it adds 120 ms to be safe from jitter, of which there is none here.
    body = {"request": "join", "room": room, "codec": codec, "quality": 5, "prebuffer": 1, "rtp": rtp}
    ask(at, janus="message", body=body)
    while True:
        with urllib.request.urlopen(f"{JANUS}/{session}?maxev=1", timeout=40) as event:
            data = json.load(event).get("plugindata", {}).get("data", {})
        if "error" in data:
            raise Failed(f"Janus: {data['error']}")
        if data.get("audiobridge") == "joined" and "rtp" in data:
            return session, f"127.0.0.1:{data['rtp']['port']} {data['rtp'].get('payload_type', payload_type)}"


def janus(conferences, size, *more):
    codec = "opus" if "opus" in more else "pcmu"
    folder = tempfile.mkdtemp(dir=FOLDER)
    for path in glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "janus", "*.jcfg")):
        with open(path) as file:
            text = file.read().replace("@FOLDER@", folder).replace("@LIBRARIES@", glob.glob("/usr/lib/*/janus")[0])
        with open(os.path.join(folder, os.path.basename(path)), "w") as file:
            file.write(text)
    command = ["janus", "-o", "-F", folder, "-C", os.path.join(folder, "janus.jcfg")]
    with started(command, janus_listens, cwd=folder) as pid:
        joined = [join(person, size, codec) for person in range(conferences * size)]
        ended = threading.Event()

        def keep():
            while not ended.wait(15):
                for session, _ in joined:
                    ask(f"{JANUS}/{session}", janus="keepalive")

        threading.Thread(target=keep, daemon=True).start()
        try:
            return generate(pid, conferences, size, *remotes(there for _, there in joined), "--settle", "4", *more)
        finally:
            ended.set()


def value(run, *path):
    for step in path:
        run = run.get(step) if isinstance(run, dict) else None
    return run


def number(figure, digits=0):
    return "–" if figure is None else f"{figure:.{digits}f}"


def row(name, server, conferences, size, *more):
    """Runs until it counts; the figures for the reader, and the whole run."""
    for _ in range(TRIES):
        try:
            run = server(conferences, size, *more)
        except (Failed, OSError) as error:
            print(f"| {name} | {conferences}×{size} | {' '.join(more)} | {error} |", flush=True)
            return None
        if run["valid"]:
            break
    else:
        print(f"| {name} | {conferences}×{size} | {' '.join(more)} | void: the generator was late |", flush=True)
        return None
    right = f"{value(run, 'mix', 'checks_passed')}/{value(run, 'mix', 'checks')}"
    print(
        f"| {name} | {conferences}×{size} | {' '.join(word for word in more if not word.startswith('--')) or 'pcmu'} "
        f"| {'yes' if run['passed'] else 'no: ' + ', '.join(run['failed'])} "
        f"| {number(value(run, 'server', 'us_per_person_second'))} | {number(value(run, 'server', 'cores'), 2)} "
        f"| {number(value(run, 'mix', 'delay_ms', 'p50'), 1)} / {number(value(run, 'mix', 'delay_ms', 'p99'), 1)} "
        f"| {right} | {number(value(run, 'packets', 'slowest_per_second'), 1)} "
        f"| {number(value(run, 'joins', 'calls', 'invite_to_200_ms', 'p50'), 2)} "
        f"| {number(value(run, 'server', 'memory_kib_per_person'), 1)} |",
        flush=True,
    )
    return run


def joins():
    print("\n| INVITE to 200, nobody subscribed | a second | answered | ms, median / 99 of 100 | CPU ms each |")
    print("|---|---|---|---|---|")
    try:
        run = confab(10, 4, "--mode", "churn", "--rate", "100", "--hold", "0.5")
    except (Failed, OSError) as error:
        print(f"| Confab | | {error} | | |")
        return
    waits = run["invite_to_200_ms"] or {}
    print(
        f"| Confab | {run['offered_per_second']:.0f} | {run['answered']}/{run['calls']} "
        f"| {number(waits.get('p50'), 2)} / {number(waits.get('p99'), 2)} | {run['server_ms_per_call']:.2f} |"
    )


SHAPES = {
    "big": [(confab, 1, 200), (refmix, 1, 200), (janus, 1, 200)],
    "small": [(confab, 50, 4), (refmix, 50, 4), (janus, 50, 4)],
    "full": [(confab, 1, 1000), (confab, 400, 4), (refmix, 1, 1000), (refmix, 400, 4)],
    "srtp": [(confab, 1, 200, "--srtp", "gcm"), (confab, 1, 200, "--srtp", "sha1-80")],
    "opus": [(confab, 1, 50, "--codec", "opus"), (janus, 1, 50, "--codec", "opus")],
}
NAMES = {confab: "Confab", refmix: "bare mixer", janus: "Janus 1.1"}


def main():
    parts = PARTS or [*SHAPES, "joins"]
    print("| server | conferences × people | | passed | CPU µs per person and second | cores | delay ms, median / 99 of 100 ", end="")
    print("| turns right | slowest packets/s | INVITE to 200 ms | KiB per person |")
    print("|" + "---|" * 11)
    for part in parts:
        runs = {}
        for server, conferences, size, *more in SHAPES.get(part, []):
            if server is janus and not shutil.which("janus"):
                continue
            runs[server, size] = row(NAMES[server], server, conferences, size, *more)
        for (server, size), run in runs.items():
            floor = runs.get((refmix, size))
            if server is confab and run and floor:
                times = value(run, "server", "us_per_person_second") / value(floor, "server", "us_per_person_second")
                print(f"| | | | | {times:.2f} times the bare mixer | | | | | | |", flush=True)
    if "joins" in parts:
        joins()


CONFAB, LOAD, REFMIX, *PARTS = sys.argv[1:]
FOLDER = tempfile.mkdtemp(prefix="confab-compare-")
try:
    main()
finally:
    shutil.rmtree(FOLDER, ignore_errors=True)
