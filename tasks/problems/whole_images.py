"""How problems that are judged on the image's own grid are shown whole images; others are shown the clean view.

Shape letters: M windows; 9 numbers cut one.
"""

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.tasks.functional.views import View
from taskdistill.tasks.functional.windows import windows_of
from taskdistill.tasks.models.preprocessing import Preprocessing


def clean_window(height: int, width: int, preprocessing: Preprocessing) -> View:
    """Return the clean view of an image as its only window, [1, 9]."""
    return preprocessing.clean(height, width)[None]


def image_windows(height: int, width: int, preprocessing: Preprocessing, settings: WindowSettings) -> View:
    """Return the windows [M, 9] that the settings ask for."""
    clean_9 = clean_window(height, width, preprocessing)[0]
    return windows_of(height, width, preprocessing.width_to_height, clean_9, settings)
