"""Every claim of the workshop with its verdict, the figure that decides, and the lesson that shows it.

``claims`` says what is claimed. ``retrieval``, ``tuning`` and ``advice`` find in the stored ``results`` what was
measured of it, and the verdict of the study that did; where a study gives none, ``rules`` do. ``rows`` puts all of it
together. A claim whose result is not there is a gap.
"""

from workshop_utils.evaluation.ledger.results import ResultError
from workshop_utils.evaluation.ledger.rows import Row, ledger, table

__all__ = ["ResultError", "Row", "ledger", "table"]
