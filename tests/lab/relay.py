"""Carry frames between two network cards; those from the first to the second come late, or never.

A stand-in for the kernel's netem. Frames travel with their offload header (PACKET_VNET_HDR), so that checksums left
to the card and large segments pass unharmed. Run as a script: ``relay.py FROM TO DELAY_MS LOSS_PERCENT``.
"""

from __future__ import annotations

import collections
import random
import select
import socket
import struct
import sys
import time

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 1, 15, 23
PACKET_MR_PROMISC = 1
ETH_P_ALL = 3
_SNAP = 70_000


def open_card(name: str) -> socket.socket:
    """A raw socket that sees everything that arrives on a network card."""
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    card.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    card.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    membership = struct.pack("IHH8s", socket.if_nametoindex(name), PACKET_MR_PROMISC, 0, b"")
    card.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
    card.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    card.bind((name, ETH_P_ALL))
    card.setblocking(False)
    return card


def _send(card: socket.socket, frame: bytes) -> None:
    try:
        card.send(frame)
    except OSError:
        return  # a full queue or a card that is down loses frames: so do real ones


def relay(late: socket.socket, prompt: socket.socket, delay: float, loss: float) -> None:
    """Carry frames until killed; ``delay`` seconds and ``loss`` (0..1) hold for frames that arrive on ``late``."""
    waiting: collections.deque[tuple[float, bytes]] = collections.deque()
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([late, prompt], [], [], timeout)
        if prompt in readable:
            _send(late, prompt.recv(_SNAP))
        if late in readable:
            frame = late.recv(_SNAP)
            if random.random() >= loss:
                waiting.append((time.monotonic() + delay, frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _send(prompt, waiting.popleft()[1])


if __name__ == "__main__":
    cards = open_card(sys.argv[1]), open_card(sys.argv[2])
    print("ready", flush=True)
    relay(*cards, float(sys.argv[3]) / 1000, float(sys.argv[4]) / 100)
