"""The errors a user of an algorithm can cause."""


class MemberError(ValueError):
    """A member that cannot learn in its group: the message says what was given, what is allowed, where to change it."""
