"""What the daemon's child processes have in common, imported once by the process that they are forked from.

Only modules are imported, and tables read: no thread, no session, no connection may be made on the way.
"""

from __future__ import annotations

from spinepacs.children import preloading

with preloading():
    import numpy.ma  # noqa: F401 - numpy.median would import it

    import spinepacs.delivery.courier
    import spinepacs.intake.listener
    import spinepacs.intake.watcher
    import spinepacs.serve.campaign
    import spinepacs.serve.parts
    import spinepacs.serve.worker  # noqa: F401 - imported to be there
    from spinepacs.dicom import standard

    standard.load()
