"""What the workers of ``process`` have in common, imported once by the process that they are forked from.

Only modules are imported, and tables read: no thread and no session may be made on the way.
"""

from __future__ import annotations

from spinepacs.children import preloading

with preloading():
    import numpy.ma  # noqa: F401 - numpy.median would import it

    import spinepacs.batch.worker  # noqa: F401 - imported to be there
    from spinepacs.dicom import standard

    standard.load()
