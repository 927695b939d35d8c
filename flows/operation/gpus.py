"""How many GPUs this machine has, asked without torch, whose import takes seconds and a GPU's memory."""

import shutil
import subprocess

from taskdistill.configs.errors import SettingsError
from taskdistill.tasks.visible_gpus import visible_gpus


def gpus_of_machine() -> list[str]:
    """Return the GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    if (named := visible_gpus()) is not None:
        return named
    if not (program := shutil.which("nvidia-smi")):
        return []
    asked = subprocess.run([program, "--list-gpus"], capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in asked.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]


def chosen_gpus(found: list[str], asked: int | None) -> list[str]:
    """Return those to use, the first so many where a number is asked for; SettingsError where there are fewer.

    Where none is found, the user may know better: not every driver comes with the program that is asked.
    """
    if asked is None:
        return found
    if found and asked > len(found):
        raise SettingsError(
            f"--gpus {asked}: there are {len(found)} on this machine that may be used ({', '.join(found)}): say --gpus "
            f"{len(found)} or less, or correct CUDA_VISIBLE_DEVICES"
        )
    return (found or [str(number) for number in range(asked)])[:asked]
