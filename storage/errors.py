"""The errors of the store. Each says what was asked, what was found, and what to do next."""

from taskdistill.configs.errors import UserError


class StoreError(UserError):
    """Something about the store or an artifact in it is not as asked."""


class NotInStoreError(StoreError):
    """A reference, label or file that the store does not have."""


class SourceError(UserError):
    """A file or folder outside the store that cannot be read as it is."""


class CorruptArtifactError(StoreError):
    """Bytes on disk are not the bytes that were committed."""


class NewerFormatError(StoreError):
    """Something in the store was made by a newer version of this program: whole, but not for this one to read."""


class DraftError(StoreError):
    """A draft does not hold what the artifact is made of."""


class NoRoomError(StoreError):
    """The disk of the store cannot hold what is to be made."""


class StillNeededError(StoreError):
    """Something cannot be removed because other things stand on it or work on it."""


class NotFiniteError(StoreError, ValueError):
    """Numbers that float16 cannot hold, or that are none."""


class CacheMismatchError(StoreError):
    """Cached teacher outputs belong to other images, another encoder or other views than asked for."""


class SourceChangedError(StoreError):
    """Files outside the store are no longer what they were when their digest was taken."""
