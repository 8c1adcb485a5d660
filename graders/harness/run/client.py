"""Who has a notebook's cells executed, and takes what the kernel sends: nbclient, for notebooks that may send anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from typing import Any

from jupyter_client.client import KernelClient
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode
from nbformat.v4 import new_output

from graders.harness.run.kernels import POLL, sockets

MAX_OUTPUT = 20_000_000
"""Characters of output that are kept of one notebook; what is printed beyond them is dropped."""
MAX_TEXT = 200
"""Characters of a line of progress."""
PROGRESS_INTERVAL = 0.5
"""Seconds between two lines of progress that repeat what a cell prints."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")


class Client(NotebookClient):
    """nbclient with an end to how much output it keeps, and with a word about what cells print.

    What a kernel sends that no notebook can hold is left out: it is the notebook's to send whatever it likes.
    """

    kept = 0
    told = 0.0
    leaves = False

    def tell(self, text: str) -> None:
        """Report a line of progress of the cell that runs."""

    async def async_start_new_kernel_client(self) -> KernelClient:
        """Connect to the kernel once it listens: who comes earlier is told to come back, later than need be."""
        manager: Any = self.km
        while manager.transport == "ipc" and not all(map(os.path.exists, sockets(manager))):
            if not await manager.is_alive():
                break
            await asyncio.sleep(POLL)
        return await super().async_start_new_kernel_client()

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        """Keep an output unless the notebook has had its share."""
        content = msg["content"]
        text = str(content.get("text", ""))
        if msg["msg_type"] == "stream" and time.monotonic() - self.told > PROGRESS_INTERVAL:
            lines = [line.strip() for line in re.split(r"[\r\n]", _CONTROL.sub(" ", text[-2000:].replace("\r", "\n")))]
            self.told = time.monotonic()
            self.tell(next((line for line in reversed(lines) if line), "")[:MAX_TEXT])
        before = self.kept
        self.kept += len(text) or len(json.dumps(content, default=str))
        if self.kept <= MAX_OUTPUT:
            kept = super().output(outs, msg, display_id, cell_index)
            # nbclient can join streams itself, but takes quadratic time for a long line
            if len(outs) > 1 and "name" in outs[-1] and outs[-1].get("name") == outs[-2].get("name"):
                outs[-2]["text"] += outs.pop()["text"]
            return kept
        if before <= MAX_OUTPUT:
            outs.append(new_output("stream", name="stderr", text="[further output of this notebook is not kept]\n"))
        return None

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Take a message of the kernel's for what it is, or leave it out."""
        try:
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception:  # nbformat and nbclient meet what they do not expect with exceptions of many types
            self._leave_out(cell)
            return None

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: NotebookNode, cell_index: int) -> None:
        """Take messages until the cell has ended, and pass over bytes that are none."""
        while True:
            try:
                return await super()._async_poll_output_msg(parent_msg_id, cell, cell_index)
            except (AttributeError, LookupError, TypeError, ValueError):
                continue

    def _leave_out(self, cell: NotebookNode) -> None:
        with contextlib.suppress(Exception):
            if not isinstance(cell.get("execution_count"), int):
                cell["execution_count"] = None
            cell.outputs.append(new_output("stream", name="stderr", text="[an output that no notebook can hold]\n"))

    async def _check_raise_for_error(
        self, cell: NotebookNode, cell_index: int, exec_reply: dict[str, Any] | None
    ) -> None:
        """:class:`CellExecutionError` for an error, with texts in the place of what is none."""
        content = (exec_reply or {}).get("content")
        if not isinstance(content, dict) or content.get("status") not in ("ok", "error", "aborted"):
            return
        lines = content.get("traceback")
        content["traceback"] = [str(line) for line in lines] if isinstance(lines, list | tuple) else []
        content["ename"], content["evalue"] = str(content.get("ename", "")), str(content.get("evalue", ""))
        await super()._check_raise_for_error(cell, cell_index, exec_reply)

    def handle_comm_msg(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Keep no state of widgets."""

    def cell_executed(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any] | None) -> None:
        """Notice ``quit()``, which raises nothing and ends the kernel a moment later."""
        content = (execute_reply or {}).get("content")
        payload = content.get("payload") if isinstance(content, dict) else None
        parts = payload if isinstance(payload, list) else []
        self.leaves = any(isinstance(part, dict) and part.get("source") == "ask_exit" for part in parts)
