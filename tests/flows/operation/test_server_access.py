"""Who is let in: by the server that `taskdistill up` starts, and which servers `worker` works for.

A deployment may name a script that is run before its flow, so whoever can add one can run anything. The requests here
are those that a web page or another user of the machine would send.
"""

import http.server
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.flows.local_server import START_SECONDS, command, command_line, free_port, prefect_server, process, until

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

FOREIGN = "http://attacker.example"
HOSTILE = {
    "name": "hostile",
    "flow_id": "00000000-0000-0000-0000-000000000000",
    "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/was-here"}}],
}


# --- what the server answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credentials",
    [None, ("taskdistill", "wrong"), ("", ""), ("admin", "pass")],
    ids=["none", "wrong password", "empty", "another user"],
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": FOREIGN}, {"Host": "attacker.example"}, {"Origin": "null"}],
    ids=["plain", "foreign page", "rebound name", "sandboxed page"],
)
def test_nobody_adds_a_deployment_without_the_password(
    server: dict[str, str], client: Any, headers: dict[str, str], credentials: tuple[str, str] | None
) -> None:
    url = server["PREFECT_API_URL"]
    before = {deployment.id for deployment in client.read_deployments()}
    token = httpx.get(f"{url}/csrf-token?client=page", headers=headers, auth=credentials)
    reply = httpx.post(f"{url}/deployments/", json=HOSTILE, headers=headers, auth=credentials)
    assert (token.status_code, reply.status_code) in [(401, 401), (401, 403)]
    assert {deployment.id for deployment in client.read_deployments()} == before


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://127.0.0.1.attacker.example", "http://127.0.0.1:1"])
def test_no_page_but_its_own_may_read_its_answers_or_send_it_more_than_a_form(
    server: dict[str, str], password: str, origin: str
) -> None:
    url, asked = server["PREFECT_API_URL"], {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = httpx.options(f"{url}/deployments/", headers=asked)
    read = httpx.get(f"{url}/csrf-token?client=page", headers=asked, auth=tuple(password.split(":")))
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in read.headers
    assert read.status_code == 200


def test_its_own_page_may(server: dict[str, str]) -> None:
    own = server["PREFECT_API_URL"].removesuffix("/api")
    asked = {"Origin": own, "Access-Control-Request-Method": "POST"}
    reply = httpx.options(f"{own}/api/deployments/", headers=asked)
    assert reply.headers["access-control-allow-origin"] == own


@pytest.mark.parametrize("place", ["events/in", "events/out", "logs/out"])
def test_a_page_cannot_get_round_it_by_a_websocket(server: dict[str, str], place: str) -> None:
    url = f"{server['PREFECT_API_URL'].replace('http', 'ws')}/{place}"
    with connect(url, origin=Origin(FOREIGN), subprotocols=[Subprotocol("prefect")]) as socket:
        socket.send(json.dumps({"type": "auth", "token": "wrong"}))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)
    with pytest.raises(InvalidHandshake):
        connect(url, origin=Origin(FOREIGN))


def test_the_password_is_readable_by_its_owner_alone_and_lies_beside_the_database(server: dict[str, str]) -> None:
    path = Path(server["PREFECT_HOME"]) / "taskdistill-password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    state = Path(server["TASKDISTILL_HOME"])
    for file in (path.parent / "prefect.db", state / "server.log", state / "worker.log", state / "state.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_starting_it_says_where_the_page_and_the_password_are_and_not_what_it_is(
    server: dict[str, str], password: str
) -> None:
    said = (Path(server["TASKDISTILL_HOME"]).parent / "up.log").read_text()
    assert server["PREFECT_API_URL"].removesuffix("/api") in said
    assert str(Path(server["PREFECT_HOME"]) / "taskdistill-password") in said
    assert password.partition(":")[2] not in said


# --- whom serve and worker believe -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server as its own command starts it."""
    start = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--no-ui", "--no-services"]
    with prefect_server(tmp_path_factory.mktemp("open"), *start) as environment:
        yield environment


def test_an_open_server_is_refused_with_the_remedy(open_server: dict[str, str]) -> None:
    done = command(["worker"], open_server)
    assert done.code == 1
    assert "asks for no password" in done.stderr
    assert "start it with 'taskdistill up'" in done.stderr
    assert "--allow-open-server" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_server_is_worked_for_by_whoever_says_so_and_gets_all_that_it_needs(
    open_server: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    environment = {**open_server, "TASKDISTILL_STORE": str(tmp_path / "store"), "TASKDISTILL_HOME": str(tmp_path)}
    with process(command_line(tmp_path, "worker", "--allow-open-server"), environment, log):
        until(lambda: "started!" in log.read_text(), seconds=START_SECONDS, log=log)
    found = httpx.post(f"{open_server['PREFECT_API_URL']}/deployments/filter", json={}).json()
    assert {"distillation", "span", "stage-distill"} <= {deployment["name"] for deployment in found}


@contextmanager
def answering(status: int, headers: Mapping[str, str], lets_in: str = "Authorization") -> Iterator[str]:
    """A web server that is healthy and answers all else with a status and headers, or with nothing where that is 0, but
    for who sends the header that lets in; yields its address.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not status and not self.path.endswith("/health"):
                return
            self.send_response(200 if self.path.endswith("/health") or lets_in in self.headers else status)
            for name, value in headers.items():
                self.send_header(name, value or self.headers.get("Origin", ""))
            self.end_headers()
            self.wfile.write(b"[]")

        do_OPTIONS = do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{started.server_address[1]}/api"
        started.shutdown()


@pytest.mark.parametrize("origin", ["*", ""], ids=["any origin", "whichever origin asks"])
def test_a_server_with_a_password_that_answers_any_page_is_refused(tmp_path: Path, origin: str) -> None:
    known = {"PREFECT_HOME": str(tmp_path), "PREFECT_API_AUTH_STRING": "user:some-password"}
    with answering(401, {"Access-Control-Allow-Origin": origin}) as url:
        done = command(["worker"], {**known, "PREFECT_API_URL": url})
    assert done.code == 1
    assert "answers web pages from anywhere" in done.stderr


def test_without_a_password_a_server_that_lets_in_prefect_alone_is_not_worked_for(
    tmp_path: Path,
) -> None:
    with answering(401, {}, lets_in="X-PREFECT-API-VERSION") as url:
        done = command(["worker"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": url})
    assert done.code == 1
    assert "none is known: set PREFECT_API_AUTH_STRING" in done.stderr
    assert "--allow-open-server" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("status", [200, 404])
def test_another_program_at_the_address_is_said_to_be_no_prefect_server(tmp_path: Path, status: int) -> None:
    with answering(status, {}) as url:
        done = command(["worker", "--allow-open-server"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": url})
    assert done.code == 1
    assert f"what answers at {url} seems to be no Prefect server" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PREFECT_API_AUTH_STRING": "taskdistill:wrong"}, "PREFECT_API_AUTH_STRING or PREFECT_API_KEY holds another"),
        ({"PREFECT_HOME": "ELSEWHERE"}, "it asks for a password and none is known: set PREFECT_API_AUTH_STRING"),
    ],
    ids=["wrong", "none"],
)
def test_without_the_right_password_one_line_says_so(
    server: dict[str, str], tmp_path: Path, given: dict[str, str], message: str
) -> None:
    given = {key: value.replace("ELSEWHERE", str(tmp_path)) for key, value in given.items()}
    done = command(["worker"], server | given)
    assert done.code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "http://no-such-host.invalid/api", "nonsense"])
def test_where_no_server_answers_one_line_says_how_to_start_one(tmp_path: Path, url: str) -> None:
    done = command(["worker"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": url})
    assert done.code == 1
    assert f"no Prefect server answers at {url}" in done.stderr
    assert "taskdistill up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_goes_away_while_it_is_asked_is_said_in_one_line(tmp_path: Path) -> None:
    with answering(0, {}) as url:
        done = command(["worker"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": url})
    assert done.code == 1
    assert f"no Prefect server answers at {url} (Server disconnected" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("taskdistill:" + "a" * 43, 0o644, "may be read or written by others"),
        ("taskdistill:" + "a" * 43, 0o620, "may be read or written by others"),
        ("", 0o600, "should hold the server's password"),
        ("a" * 43, 0o600, "should hold the server's password"),
        ("taskdistill:short", 0o600, "should hold the server's password"),
    ],
)
def test_a_password_that_others_may_know_is_not_used(tmp_path: Path, text: str, mode: int, message: str) -> None:
    path = tmp_path / "taskdistill-password"
    path.write_text(text)
    path.chmod(mode)
    done = command(["up", "--port", free_port()], {"PREFECT_HOME": str(tmp_path)})
    assert done.code == 1
    assert message in done.stderr
    assert f"rm {path}" in done.stderr


def test_servers_that_start_at_once_agree_on_one_password(tmp_path: Path) -> None:
    code = "from taskdistill.flows.operation.server_password import made_password; print(made_password())"
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "home")}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    passwords = {each.communicate(timeout=60)[0] for each in started}
    assert len(passwords) == 1
    assert len(passwords.pop().strip()) > 40
    assert [path.name for path in (tmp_path / "home").glob("taskdistill*")] == ["taskdistill-password"]


@contextmanager
def another_user_listening(log: Path) -> Iterator[str]:
    """A program of another user, which writes down what it is told; yields its address."""
    if os.geteuid():
        pytest.skip("only root can start a program of another user")
    port = free_port()
    code = (
        "import os, socket; os.setuid(65534)\n"
        f"it = socket.create_server(('127.0.0.1', {port})); print('up', flush=True)\n"
        "while True: print(it.accept()[0].recv(9999), flush=True)"
    )
    with process([sys.executable, "-c", code], {}, log):
        until(lambda: "up" in log.read_text(), seconds=30, log=log)
        yield f"http://127.0.0.1:{port}/api"


def test_the_password_is_not_told_to_another_user_who_listens_in_the_server_s_place(tmp_path: Path) -> None:
    (tmp_path / "taskdistill-password").write_text("taskdistill:" + "a" * 43)
    (tmp_path / "taskdistill-password").chmod(0o600)
    with another_user_listening(tmp_path / "heard") as url:
        done = command(["worker", "--allow-open-server"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": url})
    assert done.code == 1
    assert f"listens at {url} is not yours but that of user 65534" in done.stderr
    assert (tmp_path / "heard").read_text() == "up\n"


def test_nor_are_the_addresses_that_are_told_of_failures(tmp_path: Path) -> None:
    with another_user_listening(tmp_path / "heard") as url:
        known = {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": url}
        done = command(["notify"], known, typed="https://chat.example.org/hooks/secret")
    assert done.code == 1
    assert f"listens at {url} is not yours but that of user 65534" in done.stderr
    assert (tmp_path / "heard").read_text() == "up\n"
