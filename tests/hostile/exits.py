"""Hand-ins that look for a way out: each tries to reach listeners that the tests have on the host."""

from __future__ import annotations

from tests.hostile.case import KEEP, Case, nothing_found

SOCKETS = (
    KEEP
    + """
import socket
def send(family, kind, address, content=b"x"):
    with socket.socket(family, kind) as connection:
        connection.settimeout(2.0)
        connection.connect(address)
        connection.send(content)
        if kind == socket.SOCK_DGRAM: connection.send(content)  # the first one tells whether anybody is there
"""
)
TCP = """
for address in OUTSIDE["tcp"]:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    attempt(str(address), lambda: send(family, socket.SOCK_STREAM, tuple(address)))
keep()
"""
UDP = """
attempt("udp", lambda: send(socket.AF_INET, socket.SOCK_DGRAM, tuple(OUTSIDE["udp"])))
keep()
"""
DNS = """
attempt("getaddrinfo", lambda: socket.getaddrinfo("huggingface.co", 443))
query = b"\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\x0bhuggingface\\2co\\0\\0\\1\\0\\1"
for server in (("127.0.0.1", 53), ("127.0.0.53", 53), tuple(OUTSIDE["dns"])):
    attempt(f"asked {server}", lambda: send(socket.AF_INET, socket.SOCK_DGRAM, server, query))
keep()
"""
ABSTRACT = """
attempt("abstract", lambda: send(socket.AF_UNIX, socket.SOCK_STREAM, OUTSIDE["unix"][0]))
keep()
"""
UNIX = """
_, stream, datagram = OUTSIDE["unix"]
for before in ("", "/proc/1/root", "/proc/self/root", "/../..", f"/proc/{os.getppid()}/root"):
    attempt(f"{before} stream", lambda: send(socket.AF_UNIX, socket.SOCK_STREAM, before + stream))
    attempt(f"{before} datagram", lambda: send(socket.AF_UNIX, socket.SOCK_DGRAM, before + datagram))
keep()
"""
VSOCK = """
attempt("a vsock", lambda: socket.socket(40, socket.SOCK_STREAM).close())
for machine in (0, 1, 2, 3):
    attempt(f"vsock {machine}", lambda: send(40, socket.SOCK_STREAM, (machine, OUTSIDE["vsock"])))
keep()
"""
OTHERS = """
for address in ("192.0.2.1", "1.1.1.1", "169.254.169.254", "10.0.0.1", "172.17.0.1", "255.255.255.255"):
    for port in (53, 80, 443):
        attempt(f"tcp {address}:{port}", lambda: send(socket.AF_INET, socket.SOCK_STREAM, (address, port)))
        attempt(f"udp {address}:{port}", lambda: send(socket.AF_INET, socket.SOCK_DGRAM, (address, port)))
attempt("udp6", lambda: send(socket.AF_INET6, socket.SOCK_DGRAM, ("2001:db8::1", 53)))
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (38, socket.SOCK_SEQPACKET)):
    attempt(f"a socket of family {family}", lambda: socket.socket(family, kind))
attempt("more than a loopback device", lambda: [0][len(socket.if_nameindex()) < 2])
keep()
"""

CASES = [
    Case("TCP to the host", SOCKETS + TCP, afterwards=nothing_found),
    Case("UDP to the host", SOCKETS + UDP, afterwards=nothing_found),
    Case("asking a name server", SOCKETS + DNS, afterwards=nothing_found),
    Case("an abstract socket of the host", SOCKETS + ABSTRACT, afterwards=nothing_found),
    Case("a socket in the host's temporary folder", SOCKETS + UNIX, afterwards=nothing_found),
    Case("vsock, which no network namespace confines", SOCKETS + VSOCK, afterwards=nothing_found),
    Case("other machines", SOCKETS + OTHERS, afterwards=nothing_found),
]
REACHING = {"tcp": TCP, "udp": UDP, "dns": DNS, "abstract": ABSTRACT, "unix": UNIX, "vsock": VSOCK}
"""By the name of a listener that it reaches where nothing is in its way."""
