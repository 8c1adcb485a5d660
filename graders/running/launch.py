"""The first program in a sandbox: hands folders out, limits itself for good, and becomes the program that was asked for.

``launch.py SOCKET PROCESSES FILE_SIZE PROGRAM ARGUMENT...``, with the standard library alone. The open folders lie in
the socket's buffer until the sandbox has ended, and keep what is in them alive until then. The limits are those of the
operating system for each process; that on processes holds for ordinary users only.
"""

import os
import resource
import socket
import sys

FOLDERS = ("evidence", "work")
"""What is kept of a run. Evidence comes first, so that no crowd of other files takes its place."""


def main(descriptor: int, processes: int, file_size: int, argv: list[str]) -> None:
    """Never returns."""
    with socket.socket(fileno=descriptor) as way_out:
        socket.send_fds(way_out, [b"folders"], [os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in FOLDERS])
    for kind, most in (
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NOFILE, 4096),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))
    os.closerange(3, 4096)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
