"""The kernel of a run: how it is started, where it is reached, and when it is ready."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from graders.harness.run import warm

MAX_SOCKET_PATH = 100
"""Bytes of the path of a socket: a little less than the 107 that Unix allows, beyond which a kernel hangs."""

POLL = 0.005
"""Seconds between two looks at what is over in a moment."""


class StartError(Exception):
    """The notebook's kernel did not start, which is no fault of the notebook."""


class _Client(AsyncKernelClient):
    """Is ready when the kernel has answered, and need not wait until it has nothing more to say."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """RuntimeError if that takes longer than so many seconds, or the kernel ends."""
        end = time.monotonic() + (timeout or math.inf)
        while time.monotonic() < end and await self.is_alive():
            asked = self.kernel_info()
            with contextlib.suppress(Empty):
                while (await self.get_shell_msg(timeout=1.0))["parent_header"].get("msg_id") != asked:
                    pass
                await self.get_iopub_msg(timeout=1.0)  # that it arrives shows that what cells print will
                return
        raise RuntimeError("the kernel has not answered")


class _ForkedKernel(AsyncKernelManager):
    """Its kernel is forked, with all libraries in it, and not started anew."""

    forked: warm.Kernel

    async def _async_launch_kernel(self, kernel_cmd: list[str], **given: Any) -> None:
        provisioner: Any = self.provisioner
        self.forked.launch(kernel_cmd, given.get("env") or dict(os.environ), given.get("cwd") or os.getcwd())
        provisioner.process, provisioner.pid, provisioner.pgid = self.forked, self.forked.pid, self.forked.pid
        self._reconcile_connection_info(provisioner.connection_info)

    _launch_kernel = _async_launch_kernel


class _OneKernel(KernelSpecManager):
    """Knows one kernel: the Python that runs this, or another one, whatever is or is not installed for Jupyter."""

    python = sys.executable

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        # Interrupted by message: a signal does not reach a kernel in another session
        return KernelSpec(argv=argv, display_name="Python", language="python", interrupt_mode="message")


def manager_of(sockets: str | None, forked: warm.Kernel | None, python: str | None) -> AsyncKernelManager:
    """The manager of a kernel that is reached through files in ``sockets``, if given, and may be ``forked`` already.

    It runs in ``python``, if that is another one than this.
    """
    kernels = _OneKernel()
    kernels.python = python or sys.executable
    manager = (_ForkedKernel if forked else AsyncKernelManager)(kernel_spec_manager=kernels)
    if isinstance(manager, _ForkedKernel) and forked:
        manager.forked = forked
    manager.client_factory = _Client
    if sockets is not None:
        manager.transport = "ipc"
        manager.connection_file = os.path.join(sockets, "kernel.json")
    return manager


def sockets(manager: AsyncKernelManager) -> Iterator[str]:
    """The paths at which a kernel is reached, as jupyter_client makes them."""
    ports = manager.shell_port, manager.iopub_port, manager.stdin_port, manager.hb_port, manager.control_port
    return (f"{manager.ip}-{port}" for port in ports)


def socket_folder() -> str:
    """A new private folder whose path is short enough for sockets."""
    names = len("/grade-xxxxxxxx/kernel-ipc-5")
    short = [base for base in (tempfile.gettempdir(), "/tmp") if len(os.fsencode(base)) + names < MAX_SOCKET_PATH]
    if not short:
        raise StartError("the temporary folder's path is too long for a socket")
    return tempfile.mkdtemp(prefix="grade-", dir=short[0])
