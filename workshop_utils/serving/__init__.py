"""What the workshop serves: for now, stand-ins of the company's systems."""

from workshop_utils.serving.sources import InProcess, create_app

__all__ = ["InProcess", "create_app"]
