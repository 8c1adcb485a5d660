"""The system-call filter of the sandbox: what no notebook needs, and no namespace or control group confines.

Made with libseccomp; see seccomp(2). A call that is refused fails with an error that programs know how to go on from.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from graders.harness.run.sandbox import IsolationError

_REFUSED = (
    # Keys, which belong to the user; doors to the Linux kernel that have often been left open; sockets past this filter
    *("add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    # Other processes of the sandbox: the first one would not end with the graders any more
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"),
    # Quotas that all programs of the machine share, whoever runs them
    *("inotify_init", "inotify_init1", "fanotify_init", "io_setup", "memfd_secret"),
    *("mq_open", "msgget", "semget", "shmget"),
    "syslog",  # the machine's log, where everybody may read it
)
_UNCOUNTED = ("memfd_create",)
"""Files without a path, whose memory is seen by control groups alone."""
_LAST_FAMILY = getattr(socket, "AF_NETLINK", 16)  # macOS has none, and one's own notebooks are graded there, too
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, _LAST_FAMILY)
"""Address families that are left: vsock, for one, reaches the machine that hosts this one."""
_NETLINK_ROUTE = 0
"""The one protocol of netlink that asks for the addresses of this machine, as getifaddrs(3) does."""
_KIND = 0xF
"""The bits of a socket's type that say of which kind it is; the others are flags."""
_TCP = 6
"""The one protocol of streams that is left: queues of the others, such as SCTP and MPTCP, are counted nowhere."""
_INT = 0xFFFFFFFF
"""What the Linux kernel looks at of an int, whatever stands in the rest of the register."""
_DNOTIFY, _SETLEASE = 1026, 1024
_OPEN_FILE_LOCKS = (37, 38)
"""F_OFD_SETLK and F_OFD_SETLKW, which Python has no names for."""


@contextlib.contextmanager
def system_call_filter(*, counted: bool) -> Iterator[IO[bytes]]:
    """The filter as a program for bubblewrap, in a file that no path leads to.

    ``counted`` says whether a control group counts the sandbox's memory. Raises :class:`IsolationError` without libseccomp.
    """
    try:
        import pyseccomp  # type: ignore[import-untyped]  # publishes no types
    except (ImportError, RuntimeError) as error:
        raise IsolationError(
            f"The system-call filter cannot be made: {error}.", "Install libseccomp: sudo apt-get install libseccomp2"
        ) from None
    filtering = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    _sockets(filtering, pyseccomp)
    _files(filtering, pyseccomp)
    for name in (*_REFUSED, *(() if counted else _UNCOUNTED)):
        filtering.add_rule(pyseccomp.ERRNO(errno.ENOSYS), name)
    with tempfile.TemporaryFile() as file:
        filtering.export_bpf(file)
        file.seek(0)
        yield file


_NAMESPACES = (
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "mount_setattr", "fsopen",
    "fsconfig", "fsmount", "fspick",
)  # fmt: skip
_NEW = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
"""The flags of clone(2), and of unshare(2), that make namespaces."""


@contextlib.contextmanager
def filter_within(*, counted: bool) -> Iterator[IO[bytes]]:
    """The filter for a sandbox within the sandbox, after its own namespaces were made, as :func:`system_call_filter` gives one.

    No others can be made within it, and so no privileges be gained. Where clone(2) is refused what it asks for, clone3(2),
    into whose arguments no filter sees, is not there.
    """
    import pyseccomp

    filtering = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in _NAMESPACES:
        filtering.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
    for flag in _NEW:
        filtering.add_rule(pyseccomp.ERRNO(errno.EPERM), "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for name in ("clone3", *(() if counted else _UNCOUNTED)):
        filtering.add_rule(pyseccomp.ERRNO(errno.ENOSYS), name)
    with tempfile.TemporaryFile() as file:
        filtering.export_bpf(file)
        file.seek(0)
        yield file


def _sockets(filtering: Any, seccomp: Any) -> None:
    """Streams of IP, everything of Unix, and netlink as far as addresses go.

    What waits in the queues of datagrams, and of netlink between programs, is memory that nothing counts.
    """
    refuse = seccomp.ERRNO(errno.EAFNOSUPPORT)
    filtering.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.GT, int(_LAST_FAMILY)))
    for family in range(int(_LAST_FAMILY) + 1):
        if family not in _FAMILIES:
            filtering.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.EQ, family))
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in set(range(_KIND + 1)) - {int(socket.SOCK_STREAM)}:
            filtering.add_rule(
                refuse,
                "socket",
                seccomp.Arg(0, seccomp.EQ, int(family)),
                seccomp.Arg(1, seccomp.MASKED_EQ, _KIND, kind),
            )
        protocols = [seccomp.Arg(2, seccomp.EQ, protocol) for protocol in range(1, _TCP)]
        for protocol in (*protocols, seccomp.Arg(2, seccomp.GT, _TCP)):
            filtering.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.EQ, int(family)), protocol)
    netlink = seccomp.Arg(0, seccomp.EQ, int(_LAST_FAMILY))
    filtering.add_rule(refuse, "socket", netlink, seccomp.Arg(2, seccomp.NE, _NETLINK_ROUTE))


def _files(filtering: Any, seccomp: Any) -> None:
    """No leases on the machine's files, which delay whoever writes to them, and no locks, by which hand-ins could signal.

    A lock is granted and does nothing: all that a notebook writes to is its own.
    """
    for command in (_SETLEASE, _DNOTIFY):
        filtering.add_rule(seccomp.ERRNO(errno.EINVAL), "fcntl", seccomp.Arg(1, seccomp.MASKED_EQ, _INT, command))
    granted = seccomp.ERRNO(0)
    filtering.add_rule(granted, "flock")
    for command in (fcntl.F_SETLK, fcntl.F_SETLKW, *_OPEN_FILE_LOCKS):
        filtering.add_rule(granted, "fcntl", seccomp.Arg(1, seccomp.MASKED_EQ, _INT, int(command)))
