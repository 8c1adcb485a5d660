"""What a program can do from where it runs: ``python -m graders.harness.machine.probe ATTEMPT...``.

Run inside an isolation, with the standard library alone, by :mod:`graders.harness.machine.promises`. Attempts are functions
below; ``request.json`` tells them what there is outside. Prints a JSON object: for each attempt null if it was thwarted,
else what was possible, in words. None does harm where it succeeds.
"""

import contextlib
import ctypes
import fcntl
import glob
import importlib.util
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

_CHUNK = b"x" * (1 << 20)


def network(facts: dict[str, Any]) -> str | None:
    """Reach a listener of the host, another machine, or a name server."""
    for family, address in ((socket.AF_INET, ("127.0.0.1", facts["port"])), (socket.AF_UNIX, facts["abstract"])):
        with contextlib.suppress(OSError), socket.socket(family) as connection:
            connection.settimeout(2.0)
            connection.connect(address)
            return f"it connected to {address!r} on the host"
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"x", ("192.0.2.1", 9))  # an address that is kept for documentation, RFC 5737
        return "it sent a datagram to another machine"
    with contextlib.suppress(OSError):
        socket.getaddrinfo("huggingface.co", 443)
        return "it asked a name server"
    return None


def other_sockets(facts: dict[str, Any]) -> str | None:
    """Open sockets of a kind that network namespaces do not confine, or do anything past the filter."""
    del facts
    for name in ("AF_VSOCK", "AF_PACKET", "AF_ALG"):
        with contextlib.suppress(OSError), socket.socket(getattr(socket, name), socket.SOCK_STREAM):
            return f"it opened a socket of family {name}"
    ring = ctypes.create_string_buffer(120)
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, ring) >= 0:
        return "it set up an io_uring"
    return None


def queues(facts: dict[str, Any]) -> str | None:
    """Hold memory in queues that no control group counts."""
    del facts
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM):
            return "it opened a socket for datagrams"
    user_sockets = 2
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, user_sockets):
        return "it opened a socket of netlink between programs"
    return None


def quotas(facts: dict[str, Any]) -> str | None:
    """Take of what there is a fixed number of on the machine. The numbers are those of x86-64 and of all newer calls."""
    del facts
    call = ctypes.CDLL(None, use_errno=True).syscall
    for name, number in {"inotify": 294, "fanotify": 300, "secret memory": 447}.items():
        if os.uname().machine == "x86_64" and call(number, 0, 0) >= 0:
            return f"it got {name}"
    context = ctypes.c_long()
    if os.uname().machine == "x86_64" and call(206, 1, ctypes.byref(context)) >= 0:
        return "it set up asynchronous I/O"
    return None


def tracing(facts: dict[str, Any]) -> str | None:
    """Trace the sandbox's first process, which ends with the graders."""
    del facts
    attach, detach = 16, 17
    library = ctypes.CDLL(None, use_errno=True)
    child = os.fork()  # in its place: where there is no sandbox, the first process is the machine's
    if not child:
        time.sleep(5)
        os._exit(0)
    traced = library.ptrace(attach, child, 0, 0) == 0
    if traced:
        os.waitpid(child, 0)
        library.ptrace(detach, child, 0, 0)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "it traced another process" if traced else None


def leases(facts: dict[str, Any]) -> str | None:
    """Take a lease on a file of the machine, which delays whoever writes to it, or a lock that others feel."""
    del facts
    with open("/usr/bin/env", "rb") as one, open("/usr/bin/env", "rb") as other:
        with contextlib.suppress(OSError):
            fcntl.fcntl(one, 1024, fcntl.F_RDLCK)
            fcntl.fcntl(one, 1024, fcntl.F_UNLCK)
            return "it got a lease"
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return "it locked a file"
    return None


def packages(facts: dict[str, Any]) -> str | None:
    """Find what is installed beside the packages of notebooks."""
    for name in facts["packages"]:
        with contextlib.suppress(ImportError):
            if importlib.util.find_spec(name):
                return f"it found {name}"
    return None


def files(facts: dict[str, Any]) -> str | None:
    """Read what is none of its business."""
    for path in facts["secret_files"]:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            file.read(1)
            return f"it read {path}"
    return None


def writing(facts: dict[str, Any]) -> str | None:
    """Write outside of its folders, or to the switches of the Linux kernel."""
    for folder in (*facts["folders"], "/", "/dev", "/etc", "/usr", "/grade", "."):
        path = os.path.join(folder, f"grade-probe-{os.getpid()}")
        with contextlib.suppress(OSError), open(path, "xb"):
            os.remove(path)
            return f"it wrote to {folder}"
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "request.json"):
        with contextlib.suppress(OSError), open(path, "r+b"):
            return f"it opened {path} for writing"
    return None


def processes(facts: dict[str, Any]) -> str | None:
    """See a process of the host."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if facts["command"].encode() in file.read():
                return "it saw a process of the host"
    return None


def environment(facts: dict[str, Any]) -> str | None:
    """Find a secret in an environment, its own or another process's."""
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if facts["secret"].encode() in file.read():
                return f"it read a secret in {path}"
    return "it was given a secret" if facts["secret"] in os.environ.values() else None


def privileges(facts: dict[str, Any]) -> str | None:
    """Have capabilities or gain some."""
    del facts
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    if int(status["CapEff"], 16) or int(status["CapPrm"], 16):
        return "it has capabilities"
    new_user_namespace = 0x10000000
    if ctypes.CDLL(None).unshare(new_user_namespace) == 0:
        return "it made a user namespace"
    return None if status.get("NoNewPrivs") == "1" else "it can run programs that raise its privileges"


def disk(facts: dict[str, Any]) -> str | None:
    """Write more than it may to its working directory."""
    return _fill("work", facts["disk"])


def temporary(facts: dict[str, Any]) -> str | None:
    """Write more temporary files than it may."""
    return _fill(os.environ.get("TMPDIR", "/tmp"), facts["disk"])


def shared_memory(facts: dict[str, Any]) -> str | None:
    """Write more than it may to /dev/shm."""
    return _fill("/dev/shm", facts["shared_memory"])


def _fill(folder: str, limit: int) -> str | None:
    """Write a quarter more than the limit in a few files, and remove them."""
    paths, written = [], 0
    try:
        for number in range(5):
            paths.append(os.path.join(folder, f"grade-probe-{os.getpid()}-{number}"))
            with open(paths[-1], "wb", buffering=0) as file:
                for _ in range(limit // 4 // len(_CHUNK)):
                    written += file.write(_CHUNK)
    except OSError:
        return None
    finally:
        for path in paths:
            with contextlib.suppress(OSError):
                os.remove(path)
    return f"it wrote {written >> 20} MiB to {folder}"


def memory(facts: dict[str, Any]) -> str | None:
    """Take more memory than it may; does not return where that is prevented."""
    held = [bytearray(_CHUNK) for _ in range(facts["memory"] * 3 // 2 // len(_CHUNK))]
    time.sleep(2.0)
    return f"it took {len(held)} MiB of memory"


def files_in_memory(facts: dict[str, Any]) -> str | None:
    """Take more memory than it may by files that only a descriptor leads to; does not return where prevented."""
    descriptors = []
    for number in range(facts["memory"] * 3 // 2 // len(_CHUNK)):
        if number % 16 == 0:
            try:
                descriptors.append(os.memfd_create("probe"))
            except OSError:
                return None
        os.write(descriptors[-1], _CHUNK)
    time.sleep(2.0)
    return f"it took {facts['memory'] * 3 // 2 >> 20} MiB of memory by files"


def gpu_memory(facts: dict[str, Any]) -> str | None:
    """Take more memory of the GPU than it may; does not return where that is prevented."""
    library = ctypes.CDLL("libcuda.so.1")
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    library.cuInit(0)
    library.cuDeviceGet(ctypes.byref(device), 0)
    library.cuCtxCreate_v2(ctypes.byref(context), 0, device)
    status = library.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(2 * facts["gpu_memory"]))
    time.sleep(8.0)
    return None if status else f"it took {2 * facts['gpu_memory'] >> 20} MiB of the GPU's memory"


def fork(facts: dict[str, Any]) -> str | None:
    """Start more processes than it may; may not return where that is prevented."""
    children = []
    try:
        for _ in range(facts["processes"] + 10):
            # A hundred copies of this process would take seconds
            children.append(os.posix_spawn("/bin/sleep", ["sleep", "20"], {}))
        time.sleep(2.0)
    except OSError:
        return None
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return f"it started {len(children)} processes"


def survivor(facts: dict[str, Any]) -> str | None:
    """Leave a process behind that has another parent, another session and another environment."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.closerange(0, 100)
            os.execve("/bin/sleep", ["sleep", facts["nap"]], {})
        os._exit(0)
    return None


def gpu(facts: dict[str, Any]) -> str | None:
    """Not be able to use CUDA."""
    del facts
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"the driver's library cannot be loaded ({error})"
    status = library.cuInit(0)
    return None if status == 0 else f"cuInit returns {status}"


ATTEMPTS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    attempt.__name__: attempt
    for attempt in (
        network, other_sockets, queues, quotas, tracing, leases, packages, files, writing, processes, environment,
        privileges, disk, temporary, shared_memory, memory, files_in_memory, fork, survivor, gpu, gpu_memory,
    )
}  # fmt: skip


def main() -> None:
    """Make the attempts that the arguments name, with the facts in the request."""
    with open("request.json") as request:
        given = json.load(request)
    print(json.dumps({name: ATTEMPTS[name](given) for name in sys.argv[1:]}), flush=True)


if __name__ == "__main__":
    main()
