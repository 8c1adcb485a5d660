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
COUNTED = ("home", "/tmp", "/dev/shm")
"""What else holds files in memory."""


def hand_out(way_out: socket.socket) -> None:
    """Send the folders, which have to be in the current one, to the other end of a socket."""
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Descriptors on their way are counted for all sandboxes of a user together, against this limit of whoever sends
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    handed = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in (*FOLDERS, *COUNTED)]
    socket.send_fds(way_out, [b"folders"], handed)
    for descriptor in handed:
        os.close(descriptor)


def limit(processes: int, file_size: int) -> None:
    """Limit this process and all that it starts, for good."""
    for kind, most in (
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NOFILE, _open_files(processes)),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def main(descriptor: int, processes: int, file_size: int, argv: list[str]) -> None:
    """Never returns."""
    with socket.socket(fileno=descriptor) as way_out:
        hand_out(way_out)
    limit(processes, file_size)
    os.closerange(3, 4096)
    os.execv(argv[0], argv)


def _open_files(processes: int) -> int:
    """Files that a process may have open, so that all together fill no more than half of the machine's table of them.

    Fewer than 256 would not be enough for a kernel with its libraries.
    """
    with open("/proc/sys/fs/file-max") as file:
        table = int(file.read())
    return max(256, min(1024, table // (2 * processes)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
