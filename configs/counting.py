"""Counts as people write them: 1 image, 2 images."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return a count with its noun, and its verb where that is given: `counted(1, "file is", "files are")`.

    `many` is `one` with an s behind it where it is left out.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"
