"""The errors a user of an environment can cause."""


class DataError(ValueError):
    """Input that cannot be used: the message says what was given, what is allowed and where to change it."""
