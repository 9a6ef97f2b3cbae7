"""What is refused."""


class RefusedError(ValueError):
    """A file is not what it should be; names it, the reason, the remedy."""


def sentence_of(error: BaseException) -> str:
    """The text of an error; of one of the system, the file comes first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f'{error.filename}: {error.strerror}.'
    return str(error)
