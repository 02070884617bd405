"""What the daemon's child processes have in common, imported once by the process that they are forked from.

Only modules are imported here: no thread, no session, no connection may be made on the way.
"""

from __future__ import annotations

import gc

import spinepacs.delivery.courier
import spinepacs.intake.listener
import spinepacs.intake.watcher
import spinepacs.serve.campaign
import spinepacs.serve.parts
import spinepacs.serve.worker  # noqa: F401 - imported to be there

gc.freeze()  # the children's collectors leave it all alone: to look at an object is to write to its page
