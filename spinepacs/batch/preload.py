"""What the workers of ``process`` have in common, imported once by the process that they are forked from.

Only modules are imported here: no thread and no session may be made on the way.
"""

from __future__ import annotations

import gc

import spinepacs.batch.worker  # noqa: F401 - imported to be there

gc.freeze()  # the workers' collectors leave it all alone: to look at an object is to write to its page
