"""What is refused."""


class RefusedError(ValueError):
    """A file is not what it should be; names it, the reason, the remedy."""
