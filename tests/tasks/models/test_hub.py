"""Weights of the hub: a cache that is damaged, a hub that does not answer, one that refuses. No network is needed."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.file_download
import pytest
import timm
from huggingface_hub import constants
from safetensors.torch import save_file

from taskdistill.configs.models import Backbone
from taskdistill.tasks.models import hub
from taskdistill.tasks.models.encoder import ModelError, build_encoder

NAME = "test_resnet.r160_in1k"
BACKBONE = Backbone(name=NAME, input_px=32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    for module in (constants, huggingface_hub.file_download.constants):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache: Path) -> Path:
    """Put weights where huggingface_hub would: a blob, and a link to it; returns the blob."""
    repository = cache / "models--timm--test_resnet.r160_in1k"
    for folder in ("refs", "blobs", f"snapshots/{'0' * 40}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(timm.create_model("test_resnet").state_dict(), repository / "blobs" / "abc")
    (repository / "snapshots" / ("0" * 40) / "model.safetensors").symlink_to("../../blobs/abc")
    return repository / "blobs" / "abc"


@pytest.fixture
def no_progress(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        lead_to(monkeypatch, server.getsockname()[1])
        yield


class Refusing(BaseHTTPRequestHandler):
    """Answers every question with a status."""

    status = 401

    def do_HEAD(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Refusing]]:
    """A hub that refuses."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lead_to(monkeypatch, server.server_port)
        yield Refusing
        server.shutdown()


def lead_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


def test_what_is_in_the_cache_needs_no_hub(cache: Path, no_progress: None) -> None:
    cached(cache)
    assert build_encoder(BACKBONE).blocks[0].name == "last"  # the hub, asked, would never answer: a ModelError


def test_a_cached_file_that_broke_off_is_named_exactly_with_what_to_do(cache: Path) -> None:
    blob = cached(cache)
    blob.write_bytes(blob.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"damaged: the file is not a whole .*Delete exactly this file.*") as raised:
        build_encoder(BACKBONE)
    # The blob, not the link: with the link alone gone, the hub would link to the same blob again.
    assert str(raised.value).endswith(str(blob.resolve()))


def test_a_hub_that_never_answers_is_given_up_in_time(
    cache: Path, no_progress: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub.WAIT_SECONDS <= 6, "15 s are promised, the rest is for torch"
    monkeypatch.setattr(hub, "WAIT_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(
        ModelError, match=r"could not be downloaded from http.*Try again with a connection, or set weights"
    ):
        build_encoder(BACKBONE)
    assert time.monotonic() - began < 10, "the hub's own client tries for minutes"


def test_a_hub_that_is_not_there_is_an_error_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    lead_to(monkeypatch, port)
    with pytest.raises(ModelError, match=r"Connection refused.* Try again with a connection"):
        build_encoder(BACKBONE)


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "not give it to everyone"), (403, "not give it to everyone"), (500, "status 500. Try again later")],
)
def test_a_hub_that_refuses_is_said_with_what_helps(
    cache: Path, refusing: type[Refusing], status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusing, "status", status)
    with pytest.raises(ModelError, match=message):
        build_encoder(BACKBONE)


def test_without_leave_to_download_the_cache_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=rf"not in the cache {cache}, and HF_HUB_OFFLINE forbids"):
        build_encoder(BACKBONE)


def test_a_question_that_never_ends_is_left_behind() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within"):
        hub.answered_within(0.05, never.wait)


def test_weights_that_timm_has_only_as_a_pickle_are_not_read() -> None:
    with pytest.raises(ModelError, match=r"only as a pickled file, https://.*convert it"):
        build_encoder(Backbone(name="gcvit_small.in1k"))


def test_whether_weights_would_be_downloaded_is_known_without_asking_the_hub(cache: Path) -> None:
    assert hub.lacks_weights(NAME)
    partial = cache / "models--timm--test_resnet.r160_in1k" / "blobs" / "abc.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half of it")
    assert hub.lacks_weights(NAME)
    partial.unlink()
    partial.parent.rmdir()
    partial.parent.parent.rmdir()
    cached(cache)
    assert not hub.lacks_weights(NAME)
    assert not hub.lacks_weights("no_such_model.of_no_kind")
