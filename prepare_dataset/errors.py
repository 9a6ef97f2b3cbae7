"""What goes wrong with a user's files."""
from mbos.io import RefusedError


class PrepareError(RefusedError):
    """A file or folder is not as it should be; the message says the remedy."""


class MissingFolderError(PrepareError):
    """A raw collection lacks a folder of masks."""


class KeptFileError(PrepareError):
    """What is there was prepared with other options; it stays as it is."""
