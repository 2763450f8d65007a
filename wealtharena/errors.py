"""The errors a user of the platform can cause."""


class UserError(ValueError):
    """Input that cannot be used: one line that says what was given, what is allowed and where to change it."""
