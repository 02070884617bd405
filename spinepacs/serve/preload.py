"""What the daemon's child processes have in common: imported once, by the process that they are forked from.

A child begins in milliseconds then, and shares these pages of memory with its siblings. Only modules are imported here:
no thread, no session, no connection may be made on the way.
"""

from __future__ import annotations

import gc
import signal
import sys

gc.disable()  # its passes over the libraries' objects would only cost time

import spinepacs.delivery.courier  # noqa: E402 - see above; imported to be there
import spinepacs.intake.listener  # noqa: E402
import spinepacs.intake.watcher  # noqa: E402
import spinepacs.serve.parts  # noqa: E402
import spinepacs.serve.worker  # noqa: E402, F401

if "multiprocessing.forkserver" in sys.orig_argv[-1]:  # and not a tool that looks at this module
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as its children do
gc.freeze()  # the children's collectors leave them alone: to look at an object is to write to its page
gc.enable()
