"""From pixels to the bytes of an image file.

Shape letters: H W pixels.
"""

import io

from PIL import Image

from taskdistill.configs.generation import BlendSettings
from taskdistill.tasks.functional.views import Pixels


def encode(image_HW3: Pixels, settings: BlendSettings) -> bytes:
    """Return RGB pixels as JPEG without colour subsampling, or as PNG."""
    encoded = io.BytesIO()
    picture = Image.fromarray(image_HW3)
    if settings.encoding == "png":
        picture.save(encoded, "PNG")
    else:
        picture.save(encoded, "JPEG", quality=settings.jpeg_quality, subsampling=0)
    return encoded.getvalue()
