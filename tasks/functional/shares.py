"""Which rows of a batch one of several ranks takes: processes that train one network together.

An image is mixed with the one opposite (`tasks.functional.mixup`). So a rank takes rows from the front and those
opposite them: mixed among themselves they are what they are in the whole batch, and no rank loads an image of another.

Shape letters: N rows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Share(NamedTuple):
    """What one of several ranks takes; by default there is one, and it takes all."""

    rank: int = 0
    num_ranks: int = 1

    def of(self, num_rows: int) -> npt.NDArray[np.int64] | slice:
        """Return which of N rows it takes, in their order: of 8 the first of two ranks takes 0, 1, 6 and 7.

        Shares may differ by two rows, and by one more where N is odd and the middle one is opposite itself.
        """
        if self.num_ranks == 1:
            return slice(None)  # as they are: an index would copy them
        num_pairs = (num_rows + 1) // 2
        front_N = np.arange(self.rank * num_pairs // self.num_ranks, (self.rank + 1) * num_pairs // self.num_ranks)
        return np.union1d(front_N, num_rows - 1 - front_N).astype(np.int64)


WHOLE = Share()
