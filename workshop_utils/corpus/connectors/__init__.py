"""The company's documents straight from the systems that hold them, each with the list of those who may read it."""

from workshop_utils.corpus.connectors.changes import Change, Checkpoint, Deletion, Event, Failure, Source
from workshop_utils.corpus.connectors.confluence import ConfluenceLoader
from workshop_utils.corpus.connectors.http import SourceError
from workshop_utils.corpus.connectors.sharepoint import SharePointLoader

__all__ = [
    "Change",
    "Checkpoint",
    "ConfluenceLoader",
    "Deletion",
    "Event",
    "Failure",
    "SharePointLoader",
    "Source",
    "SourceError",
]
