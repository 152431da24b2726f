"""Makes the parts of data/ that follow from other parts: ``workshop data --build``."""

from workshop_utils.authoring.datasets.build import build, outdated

__all__ = ["build", "outdated"]
