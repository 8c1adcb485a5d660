"""A sandbox within the sandbox, for a child of the warm process: namespaces, folders and limits of its own.

It has the standard library alone. What it calls is in unshare(2), mount_namespaces(7), user_namespaces(7) and
capabilities(7). In the order in which it happens: namespaces; the first process of the new ones, whose death ends all
others; folders in memory; no privileges any more; and a filter that no new ones are gained through.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import os
import signal
import socket
import stat
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from graders.harness.run import launch

INSIDE = "/grade"
"""Where the folders of a run are."""
OUTER_PROC = "/run/proc"
"""A second view of the outer sandbox's processes, unmasked: only where there is such a one may another be made."""
_NOTEBOOK = 128 << 20
"""Bytes for the files that a run is given, beside its folders: a notebook has at most 50 MB."""

_NEW = {"NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000, "NEWUSER": 0x10000000,
        "NEWPID": 0x20000000, "NEWNET": 0x40000000}  # fmt: skip
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
_PDEATHSIG, _DUMPABLE, _SECCOMP, _CAPBSET_DROP, _SUBREAPER, _AMBIENT = 1, 4, 22, 24, 36, 47
_SIOCSIFFLAGS, _UP = 0x8914, 0x1

_library = ctypes.CDLL(None, use_errno=True)
forked = False
"""Whether this process was forked from a warm one."""


def end_with_parent() -> None:
    """Be killed as soon as the thread that started this process has ended."""
    _call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def set_dumpable(dumpable: bool) -> None:
    """Whether other processes of the same user may look into this one; see ptrace(2)."""
    _call("prctl", _DUMPABLE, int(dumpable), 0, 0, 0)


def enter(asked: Mapping[str, Any], way_out: socket.socket) -> None:
    """Go on in a sandbox of this run's own; returns in a new process only, and the caller ends with its exit status.

    ``asked`` holds ``sizes`` (bytes by folder), ``files`` (contents in base64 by name), ``folders`` to make, ``hidden`` paths of
    which nothing is to be seen, ``seen`` paths within those or in folders of ``sizes`` that stay to be seen, ``masked`` names
    in `/proc`, ``processes``, ``file_size`` and ``filter``, a program for seccomp in base64. Through ``way_out`` goes a message,
    so that the other side learns this process's number; an answer is awaited; and then go the run's folders.
    """
    end_with_parent()
    user, group = os.getuid(), os.getgid()
    set_dumpable(True)  # or its own files in /proc would belong to somebody else
    processes = os.open(OUTER_PROC, os.O_PATH | os.O_DIRECTORY)
    _call("unshare", sum(_NEW.values()))
    _map(processes, (0, user), (0, group))
    first = os.fork()
    if first:
        _end_as(first)
    end_with_parent()
    way_out.sendall(b"?")
    if way_out.recv(1) != b"!":
        os._exit(1)
    _mount(asked)
    _raise_interface()
    # Folders in memory and terminals are made by a superuser, and nothing of a hand-in's is to run as one
    _call("unshare", _NEW["NEWUSER"])
    _map(processes, (user, 0), (group, 0))
    os.close(processes)
    os.chdir(INSIDE)
    launch.hand_out(way_out)
    way_out.close()
    _drop_privileges(base64.b64decode(asked["filter"]))
    launch.limit(asked["processes"], asked["file_size"])
    set_dumpable(False)  # whatever the first process holds, nobody else looks at
    program = os.fork()
    if program:
        _reap_until(program)
    set_dumpable(True)
    os.setsid()


def stay(asked: Mapping[str, Any], way_out: socket.socket) -> None:
    """Go on without a sandbox, in the folder ``asked`` for; returns in a new process only, over which this one watches.

    The other side learns the number of the one that watches, and answers. It ends when nobody of all descendants is left.
    """
    end_with_parent()
    set_dumpable(True)
    way_out.sendall(b"?")
    if way_out.recv(1) != b"!":
        os._exit(1)
    way_out.close()
    adopt_orphans()
    program = os.fork()
    if program:
        _watch_over(program)
    end_with_parent()
    os.chdir(asked["folder"])
    os.setsid()


def _watch_over(program: int) -> None:
    status = None
    while True:
        try:
            child, ended = os.wait()
        except ChildProcessError:
            os._exit(1 if status is None else _shown(status))
        if child == program:
            status = ended
        if status is not None:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                for left in file.read().split():
                    os.kill(int(left), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of whatever the descendants of this process leave, so that it can be ended."""
    _call("prctl", _SUBREAPER, 1, 0, 0, 0)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _map(processes: int, user: tuple[int, int], group: tuple[int, int]) -> None:
    """Who this process is in a user namespace that it has just made: (within, without)."""
    texts = {"setgroups": "deny", "uid_map": "{} {} 1".format(*user), "gid_map": "{} {} 1".format(*group)}
    for name, text in texts.items():
        descriptor = os.open(f"self/{name}", os.O_WRONLY, dir_fd=processes)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def _end_as(child: int) -> None:
    _, status = os.waitpid(child, 0)
    os._exit(_shown(status))


def _reap_until(program: int) -> None:
    """As the first process of its namespace: bury whoever has no other parent, and end, all others with it, with the program."""
    os.closerange(0, 4096)  # whatever it has open, the program could open as well
    while True:
        child, status = os.wait()
        if child == program:
            os._exit(_shown(status))


def _shown(status: int) -> int:
    """An exit status as shells have it, for a process that is to end as another one did."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _mount(asked: Mapping[str, Any]) -> None:
    """Folders in memory, and a `/proc` of its own, masked as the outer one."""
    _bind("/", None, None, _REC | _SLAVE)
    _memory(INSIDE, _NOTEBOOK)
    seen = {place: os.open(place, os.O_PATH) for place in asked["seen"]}
    for place, size in asked["sizes"].items():
        os.makedirs(place, exist_ok=True)
        _memory(place, size)
    hidden = []
    for place in asked["hidden"]:
        if os.path.isdir(place):
            _memory(place, 0)
            hidden.append(place)
        elif os.path.exists(place):
            _bind(place, "/dev/null", None, _BIND)
    for place, descriptor in seen.items():
        _show_again(place, descriptor)
    for place in hidden:
        _bind(place, None, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    _bind("/dev/pts", "devpts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    for name in asked["folders"]:
        os.makedirs(f"{INSIDE}/{name}", exist_ok=True)
    for name, content in asked["files"].items():
        with open(f"{INSIDE}/{name}", "wb") as file:
            file.write(base64.b64decode(content))
    _bind(INSIDE, None, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    _bind("/proc", "proc", "proc", _RDONLY | _NOSUID | _NODEV | _NOEXEC)
    for name in asked["masked"]:
        path = f"/proc/{name}"
        if os.path.isdir(path):
            _memory(path, 0, _RDONLY)
        elif os.path.exists(path):
            _bind(path, "/dev/null", None, _BIND)
    _memory(os.path.dirname(OUTER_PROC), 0, _RDONLY)


def _show_again(place: str, descriptor: int) -> None:
    """What was to be seen in a folder that a new one has taken the place of."""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "xb"):
            pass
    _bind(place, f"{OUTER_PROC}/self/fd/{descriptor}", None, _BIND | _REC)
    os.close(descriptor)


def _memory(place: str, size: int, flags: int = 0) -> None:
    _bind(place, "tmpfs", "tmpfs", _NOSUID | _NODEV | flags, f"size={max(size, 4096)},mode=755")


def _bind(place: str, source: str | None, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    texts = (None if text is None else text.encode() for text in (source, place, kind))
    _call("mount", *texts, ctypes.c_ulong(flags), None if options is None else options.encode())


def _raise_interface() -> None:
    """The network of its own has nothing in it but the way to itself, which notebooks use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def _drop_privileges(program: bytes) -> None:
    """What user namespaces give to whoever makes one; that none is gained again holds since the outer sandbox."""
    _library.prctl(_AMBIENT, 4, 0, 0, 0)
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        _call("prctl", _CAPBSET_DROP, capability, 0, 0, 0)
    _call("capset", ctypes.byref(_Header(0x20080522, 0)), (_Capabilities * 2)())
    _call("prctl", _SECCOMP, 2, ctypes.byref(_Filter(len(program) // 8, program)), 0, 0)


def become(argv: Sequence[str], environment: Mapping[str, str], output: int) -> None:
    """Give this process the environment, the standard streams and the arguments of a program, and no other open file."""
    global forked
    forked = True
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor, stream in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, stream)
    os.closerange(3, 4096)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = argv
