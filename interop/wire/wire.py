"""A bad line between two network interfaces: wire.py LOSS-PERCENT JITTER-MILLISECONDS. Makes the TUN interfaces wire-near and
wire-far, says "ready", and passes packets from one to the other until it is ended. UDP over IPv4 is lost, delayed and so reordered, each
way alike; everything else passes at once. The same packets are lost in each run."""
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
UDP = 17
LONGEST = 65536
# What an interface may hold back, in packets; more is lost, as on a real line.
MOST_DELAYED = 10_000


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def is_datagram(packet):
    return len(packet) > 20 and packet[0] >> 4 == 4 and packet[9] == UDP


def write(device, packet):
    try:
        os.write(device, packet)
    except OSError:
        pass  # the interface is not up yet, or full: the packet is lost


def main():
    loss, jitter = float(sys.argv[1]) / 100, float(sys.argv[2]) / 1000
    near, far = tun("wire-near"), tun("wire-far")
    other = {near: far, far: near}
    chance = {near: random.Random(1), far: random.Random(2)}
    delayed, order = [], 0
    print("ready", flush=True)
    while True:
        wait = max(0, delayed[0][0] - time.monotonic()) if delayed else None
        readable, _, _ = select.select(list(other), [], [], wait)
        for device in readable:
            packet = os.read(device, LONGEST)
            if not is_datagram(packet):
                write(other[device], packet)
            elif chance[device].random() >= loss and len(delayed) < MOST_DELAYED:
                due = time.monotonic() + chance[device].uniform(0, jitter)
                heapq.heappush(delayed, (due, order, other[device], packet))
                order += 1
        while delayed and delayed[0][0] <= time.monotonic():
            _, _, device, packet = heapq.heappop(delayed)
            write(device, packet)


main()
