"""Which Prefect server is meant, and whom it lets in.

Whoever reaches the API of a Prefect server can have code run by those who work for it: a deployment may name a script
to run first. A server on this machine is within reach of every program on it, and of every web page that its browser
shows. So `worker` works for a server only that asks for a password and that answers no foreign page.
"""

import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL

from taskdistill.flows.deployed.server import ServerError
from taskdistill.flows.operation.prefect_environment import tell_prefect
from taskdistill.flows.operation.processes import users_listening
from taskdistill.flows.operation.server_password import known_password, made_password, password_file

PORT = 4200
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_START = "start one with 'taskdistill up', and leave it running"
_NOBODY = "00000000-0000-0000-0000-000000000000"
_FOREIGN = "http://a-foreign-page.example"
_UNTIL_ANSWER_SECONDS = 15.0
_REFUSALS = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_ADDRESS = "Correct PREFECT_API_URL, such as http://127.0.0.1:4200/api"


def address(port: int) -> str:
    """Return where the API of a server on this machine is."""
    return f"http://127.0.0.1:{port}/api"


def log_in(port: int = PORT) -> str:
    """Let Prefect use the server that the user names, or else the one of this machine's `up`; returns its address.

    On this machine its password is taken from where `taskdistill up` keeps it, unless the user gives another;
    ServerError where the program that would be told it is another user's.
    """
    url = PREFECT_API_URL.value() or address(port)
    settings = {"PREFECT_API_URL": url}
    if not PREFECT_API_AUTH_STRING.value() and urlsplit(url).hostname in LOOPBACK and (password := known_password()):
        check_listener(url)
        settings["PREFECT_API_AUTH_STRING"] = password
    tell_prefect(settings)
    return url


def check_listener(url: str) -> None:
    """Raise ServerError where another user of this machine listens, as anybody can while `up` does not run."""
    try:
        if urlsplit(url).hostname not in LOOPBACK:
            return
        port = urlsplit(url).port
    except ValueError:  # said when the server is asked
        return
    others = (users_listening(port) or set()) - {0, os.geteuid()} if port else set()  # root can read it anyway
    if others:
        raise ServerError(
            f"the program that listens at {url} is not yours but that of user {min(others)}, who is told no secret of "
            "yours, such as your server's password: start your own on another port, such as 'taskdistill up --port "
            "4201'; or set PREFECT_API_AUTH_STRING to the password of that server"
        )


def server_settings(port: int, database: str, *, has_password: bool) -> dict[str, str]:
    """Return the variables of a server that asks for the password and answers no page but its own.

    `database` is a URL as Prefect reads it, "" for SQLite in Prefect's home. Raises ServerError where the password's
    file is not to be trusted.
    """
    own = f"http://127.0.0.1:{port},http://localhost:{port}"
    settings = {
        "PREFECT_API_URL": address(port),
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": own,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "taskdistill.flows.operation.event_order",
    }
    if has_password:
        password = made_password()
        settings |= {"PREFECT_API_AUTH_STRING": password, "PREFECT_SERVER_API_AUTH_STRING": password}
    if database:
        settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    return settings


def tell_where(settings: Mapping[str, str]) -> None:
    """Let this process and those it starts use the server with these settings."""
    tell_prefect({name: value for name, value in settings.items() if not name.startswith("PREFECT_SERVER_")})


def answers(url: str) -> bool:
    """Whether a healthy server is there."""
    try:
        return httpx.get(f"{url}/health", timeout=_UNTIL_ANSWER_SECONDS).is_success
    except httpx.HTTPError:
        return False


def check_port(port: int) -> None:
    """Raise ServerError where another program listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            what = "a Prefect server that this command did not start" if answers(address(port)) else error.strerror
            raise ServerError(
                f"port {port} of this machine is not free ({what}): stop what uses it, or choose another, such as "
                f"--port {port + 1}"
            ) from None


def check_server(url: str) -> None:
    """Raise ServerError where no server answers."""
    try:
        reply = httpx.get(f"{url}/health", timeout=_UNTIL_ANSWER_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerError(_unanswered(url, error)) from None
    if not reply.is_success:
        raise ServerError(f"no healthy Prefect server answers at {url} (its health is {reply.status_code}): {_START}")


def check_password(url: str) -> None:
    """Raise ServerError where the server does not let us in."""
    with get_client(sync_client=True) as client:
        try:
            client.read_deployments(limit=1)
        except httpx.HTTPStatusError as error:
            if error.response.status_code in _REFUSALS:
                raise ServerError(_refused(url)) from None
            raise ServerError(f"{_not_prefect(url)}: it answers {error.response.status_code}. {_ADDRESS}") from None
        except httpx.HTTPError as error:
            raise ServerError(_unanswered(url, error)) from None
        except ValueError:
            raise ServerError(f"{_not_prefect(url)}: its answers cannot be read. {_ADDRESS}") from None


def check_closed(url: str) -> None:
    """Raise ServerError where the server answers without a password, or answers a page from anywhere."""
    try:
        open_to = _open_to(url)
    except httpx.HTTPError as error:
        raise ServerError(_unanswered(url, error)) from None
    if open_to:
        raise ServerError(
            f"the Prefect server at {url} {open_to}: whoever reaches it can have any code run on this machine. Stop it "
            "and start it with 'taskdistill up'; or, where others keep strangers away from it, say "
            "--allow-open-server"
        )


def check_known(url: str) -> None:
    """Raise ServerError where no password is known here. A server that asks strangers for one and lets us in without
    may be anybody's: it knows Prefect's requests by their headers.
    """
    if not PREFECT_API_AUTH_STRING.value() and not PREFECT_API_KEY.value():
        raise ServerError(
            f"the Prefect server at {url} cannot be told from another that somebody has put there: {_none_known()}; "
            "or, where others keep strangers away from it, say --allow-open-server"
        )


def _none_known() -> str:
    return (
        "it asks for a password and none is known: set PREFECT_API_AUTH_STRING to the text of the file "
        f"{password_file().name} in Prefect's home folder of whoever started it"
    )


def _unanswered(url: str, error: Exception) -> str:
    return f"no Prefect server answers at {url} ({str(error) or type(error).__name__}): {_START}"


def _not_prefect(url: str) -> str:
    return f"what answers at {url} seems to be no Prefect server, or one of another version"


def _refused(url: str) -> str:
    if PREFECT_API_KEY.value() or PREFECT_API_AUTH_STRING.value() not in (None, known_password()):
        given = "PREFECT_API_AUTH_STRING or PREFECT_API_KEY holds another password than its own: correct or unset it"
    elif PREFECT_API_AUTH_STRING.value():
        given = f"its password is not the one in {password_file()}: stop it and start it with 'taskdistill up'"
    else:
        given = _none_known()
    return f"the Prefect server at {url} lets nobody in from here; {given}"


def _open_to(url: str) -> str:
    """Ask as a stranger and as a foreign page would; returns what was answered that should not have been."""
    asked = f"{url}/deployments/{_NOBODY}"
    stranger = httpx.get(asked, timeout=_UNTIL_ANSWER_SECONDS)
    if stranger.is_success or stranger.status_code == httpx.codes.NOT_FOUND:  # of a deployment that is not there
        return "asks for no password"
    if stranger.status_code not in _REFUSALS:
        return f"answers a stranger with status {stranger.status_code}, which does not say whether it lets him in"
    headers = {"Origin": _FOREIGN, "Access-Control-Request-Method": "POST"}
    # As the browser of a user would for a page of another origin: these headers let that page read the answers.
    replies = [
        httpx.get(asked, headers={"Origin": _FOREIGN}, timeout=_UNTIL_ANSWER_SECONDS),
        httpx.options(asked, headers=headers, timeout=_UNTIL_ANSWER_SECONDS),
    ]
    if any(reply.headers.get("access-control-allow-origin") in ("*", _FOREIGN) for reply in replies):
        return "answers web pages from anywhere"
    return ""
