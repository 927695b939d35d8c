"""Code that is cut out of the program runs without it, and does the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from taskdistill.tasks.export.bundle import Name, bundled
from taskdistill.tasks.functional.views import clean_view, replay


def test_what_is_cut_out_runs_alone_and_gives_the_same_bytes(tmp_path: Path) -> None:
    files = bundled([Name("taskdistill.tasks.functional.views", name) for name in ("clean_view", "replay")])
    assert list(files) == ["views.py"]
    assert "draw_view" not in files["views.py"]  # it needs settings, and nobody asked for it
    (tmp_path / "alone").mkdir()
    for name, text in files.items():
        (tmp_path / "alone" / name).write_text(text)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import numpy as np, sys; from alone.views import clean_view, replay; pixels = np.load('pixels.npy'); "
        "np.save('seen.npy', replay(pixels, clean_view(30, 50, 0.9, 'whole', 1.0), (24, 24), 'bicubic')); "
        "assert 'taskdistill' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={}, check=True)
    expected = replay(pixels, clean_view(30, 50, 0.9, "whole", 1.0), (24, 24), "bicubic")
    assert np.array_equal(np.load(tmp_path / "seen.npy"), expected)


def test_definitions_of_other_modules_come_along_in_files_of_their_own() -> None:
    files = bundled([Name("taskdistill.tasks.models.encoder", "ModelError")])
    assert list(files) == ["encoder.py", "errors.py"]
    assert "from .errors import UserError" in files["encoder.py"]
    assert "import torch" not in files["encoder.py"]


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="defines no nothing at its top"):
        bundled([Name("taskdistill.tasks.functional.views", "nothing")])
