"""The base of the errors that we foresaw."""


class WorkshopError(Exception):
    """Something went wrong that has a known remedy; the message says what it is and what to do."""


class InputError(WorkshopError, ValueError):
    """A setting or an input that cannot be used."""
