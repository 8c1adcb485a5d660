"""Tests run side by side, and what each of them computes must not fight the others for the cores."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, and for the programs that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")
