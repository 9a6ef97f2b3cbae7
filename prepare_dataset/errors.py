"""What goes wrong with a user's files."""


class PrepareError(ValueError):
    """A file or folder is not as it should be; the message says the remedy."""
