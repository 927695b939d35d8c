"""Weights from the hub: whether they are here already, and what to do where they cannot be had.

huggingface_hub alone would try for minutes where nothing answers. So the hub is asked for the file's size first, once
and within WAIT_SECONDS, name resolution included, and only then told to download. What lies in the cache is used
without asking: a run continues with the weights it began with, and needs no connection.
"""

import errno
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import timm
from httpx2 import HTTPError
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from torch import Tensor

from taskdistill.storage.weight_formats import WeightFileError
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.weight_files import read_weights

WAIT_SECONDS = 6.0
"""Longest time in which the hub must have answered a first question: with torch's import, a message within 15 s."""
SAFETENSORS = "model.safetensors"
_OWN_FILE = "or set weights=file and file=... to a safetensors file you have"


def hub_weights(name: str) -> dict[str, Tensor]:
    """Return the pretrained weights that timm names, downloaded where they are not in the cache yet.

    Raises ModelError where they cannot be had, or where what lies in the cache is damaged.
    """
    config = timm.get_pretrained_cfg(name)
    if not config.hf_hub_id:
        raise ModelError(
            f"timm has the weights of {name} only as a pickled file, {config.url}, which can run code and is not read: "
            "download it, convert it with safetensors.torch.save_file(torch.load(path, weights_only=True), new_path), "
            "and set weights=file and file=new_path"
        )
    path = _cached(config.hf_hub_id) or _downloaded(name, config.hf_hub_id)
    try:
        return read_weights(path)
    except WeightFileError as error:
        raise ModelError(
            f"the weights of {name} in the hub's cache are damaged: the file {error.finding}. Delete exactly this "
            f"file and run the same command again with a connection, which downloads it anew: {path.resolve()}"
        ) from error


def lacks_weights(name: str) -> bool:
    """Whether the weights that timm names would have to be downloaded; not where timm has none of this name there."""
    config = timm.models.get_arch_pretrained_cfgs(name).get(name)
    return config is not None and bool(config.hf_hub_id) and _cached(config.hf_hub_id) is None


def _cached(repository: str) -> Path | None:
    found = try_to_load_from_cache(repository, SAFETENSORS)
    return Path(found) if isinstance(found, str) else None


def _downloaded(name: str, repository: str) -> Path:
    if constants.is_offline_mode():
        raise ModelError(
            f"the weights of {name} are not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids their "
            f"download: unset it, {_OWN_FILE}"
        )
    address = hf_hub_url(repository, SAFETENSORS)
    try:
        answered_within(WAIT_SECONDS, lambda: get_hf_file_metadata(address, timeout=WAIT_SECONDS))
        return Path(hf_hub_download(repository, SAFETENSORS))
    except (HTTPError, OSError, RuntimeError) as error:  # RuntimeError: of the hub's own transfer protocol
        raise ModelError(f"the weights of {name} could not be downloaded from {address}: {_reason(error)}") from error


def answered_within(seconds: float, ask: Callable[[], object]) -> None:
    """Call `ask` in a thread that is left behind when time is up, as name resolution knows no time limit.

    Raises TimeoutError, or what `ask` raised.
    """
    outcome: queue.Queue[BaseException | None] = queue.Queue()

    def answer() -> None:
        try:
            ask()
        except BaseException as error:  # raised again by who asked
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=answer, daemon=True).start()
    try:
        error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if error is not None:
        raise error


def _reason(error: Exception) -> str:
    """Return what went wrong and what to do, as the end of a sentence."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {constants.HF_HUB_CACHE} is full. Free some space, or set HF_HOME to another disk"
    if isinstance(error, EntryNotFoundError | RevisionNotFoundError):
        return f"there is no such file. Choose another name, {_OWN_FILE}"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        return (
            f"the hub does not give it to everyone (status {status}). Ask for access on its page and log in with "
            f"'hf auth login', {_OWN_FILE}"
        )
    if status is not None:
        return f"the hub answered with status {status}. Try again later, {_OWN_FILE}"
    what = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"{what}. Try again with a connection, {_OWN_FILE}"
