"""Requests over HTTP: which failures are tried again and how patiently, and where a token may go.

An attempt fails in one of two ways: what is `Broken` may be whole the next time, what is `Refused` would be refused
again. Neither leaves `patiently`, which tries again and ends in one line that says what happened.
"""

import email.utils
import http
import ipaddress
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3

from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)

TOKEN_HEADER = "X-Auth-Token"
# The longest wait that a server may ask for, in s: one that asks for a day has not to be waited for by a job.
LONGEST_ASKED_WAIT_S = 900.0
# Read at once from a connection, in bytes, at most.
CHUNK_BYTES = 1024 * 1024
# Answers that may be another one when asked again: a time-out, too early, too many requests. And all from 500 on.
_PASSING = (408, 425, 429)

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long an answer is waited for, and how often and after what time a failed attempt is repeated (s).

    `attempts` is the number of failures in a row that bring nothing; one that brings something (bytes of a file, that
    is) renews it. `attempts_in_all` bounds them whatever they bring. `stall_s` is the longest time without a byte.
    """

    attempts: int = 8
    attempts_in_all: int = 100
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    connect_s: float = 20.0
    stall_s: float = 60.0


PATIENCE = Patience()


class Broken(Exception):
    """An attempt that failed and may succeed when repeated; `asked_wait_s` is how long the server asks to wait."""

    def __init__(self, reason: str, *, asked_wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.asked_wait_s = asked_wait_s
        self.progressed = False


class Refused(Exception):
    """An attempt that would fail again: `reason` is what happened, `advice` a sentence on what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


def patiently(attempt: Callable[[], T], *, what: str, advice: str, patience: Patience = PATIENCE) -> T:
    """Return what `attempt` returns, repeating it as long as it raises Broken and `patience` lasts.

    Raises InputError, in one line: `what`, the last failure, how often it was tried, and what to do (`advice` when
    patience is at its end).
    """
    fruitless = 0

    def count(state: tenacity.RetryCallState) -> None:
        nonlocal fruitless
        fruitless = 0 if _failure(state).progressed else fruitless + 1

    def wait(state: tenacity.RetryCallState) -> float:
        return wait_s(fruitless, asked_s=_failure(state).asked_wait_s, patience=patience, jitter=random.random())

    def stop(state: tenacity.RetryCallState) -> bool:
        return fruitless >= patience.attempts or state.attempt_number >= patience.attempts_in_all

    def tell(state: tenacity.RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0.0
        log.info("%s: %s; attempt %d in %.1f s", what, _failure(state).reason, state.attempt_number + 1, pause)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Broken),
        after=count,
        wait=wait,
        stop=stop,
        before_sleep=tell,
        reraise=True,
    )
    try:
        return retrying(attempt)
    except Broken as error:
        failed, to_do = error.reason, advice
    except Refused as error:
        failed, to_do = error.reason, error.advice
    times = retrying.statistics["attempt_number"]
    raise InputError(f"{what}: {failed}; tried {'once' if times == 1 else f'{times} times'}. {to_do}")


def wait_s(fruitless: int, *, asked_s: float, patience: Patience, jitter: float) -> float:
    """How long to wait (s) after `fruitless` failures in a row: twice as long each time, and what the server asks.

    `jitter` in [0, 1) is what keeps many jobs from coming back at once: at least half of the time is waited. What the
    server asks for is bounded by LONGEST_ASKED_WAIT_S.
    """
    doublings = min(max(fruitless - 1, 0), 30)
    own = min(patience.longest_wait_s, patience.first_wait_s * 2**doublings) * (0.5 + jitter / 2)
    return max(own, min(asked_s, LONGEST_ASKED_WAIT_S))


def ask(url: str, *, body: Mapping[str, Any] | None = None, patience: Patience = PATIENCE) -> Any:
    """What a server answers in JSON to a GET, or to a POST of `body`. The structure is the caller's to check.

    Raises InputError when there is no such answer after all attempts.
    """

    def attempt() -> Any:
        with answer("GET" if body is None else "POST", url, body=body, patience=patience) as response:
            if response.status_code != http.HTTPStatus.OK:
                raise Broken(_in_words(response.status_code))
            content = response.content
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise Broken("the server answered something that is not JSON") from None

    return patiently(
        attempt, what=url, advice="Check the address and the connection, or try again later.", patience=patience
    )


@contextmanager
def answer(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    token_file: str | Path | None = None,
    patience: Patience = PATIENCE,
) -> Iterator[requests.Response]:
    """Send one request and yield the answer, whose body is still to be read (`chunks`).

    Redirects are followed. The token is read from its file now and goes to the host of `url` alone. An answer of 416
    is yielded too: what it means depends on the range that was asked for.

    Raises Broken when there is no answer, when the block reads a body that breaks off, or on an answer that may pass;
    Refused on any other answer that is none; InputError when the token cannot be used.
    """
    sent = {"User-Agent": "histocarta", **(headers or {})}
    if token_file is not None:
        sent[TOKEN_HEADER] = read_token(token_file, url=url)
    times = (patience.connect_s, patience.stall_s)
    with _Session() as session:
        try:
            with _sent(session, method, url, headers=sent, json=body, timeout=times) as response:
                _check_status(response, token_file)
                yield response
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise Broken(_what_broke(error, patience)) from None
        except requests.exceptions.ChunkedEncodingError:
            raise Broken("the transfer was cut") from None
        except requests.RequestException as error:
            # Its message may quote a header; its name cannot.
            raise Refused(f"the request failed ({type(error).__name__})", "Check the address.") from None


def chunks(response: requests.Response) -> Iterator[bytes]:
    """The bytes of a body as they arrive, as they were sent; whatever came before a break is yielded before it."""
    # requests' own iterator waits for a full chunk, and a break takes what it had of it.
    while data := response.raw.read1(CHUNK_BYTES, decode_content=False):
        yield data


def read_token(path: str | Path, *, url: str) -> str:
    """The token in a file, for a request to `url`. No message has any of it.

    Raises InputError when the file cannot be read or holds no token, or when `url` is neither https nor on this
    machine, so that others could read the token on its way.
    """
    if not _is_private(url):
        raise InputError(
            f"{url}: expected an https address for a request with a token; leave out the token or use https."
        )
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except OSError as error:
        raise InputError(f"{path}: expected a file with a token, found: {error.strerror}.") from None
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise InputError(
            f"{path}: expected one token, a single line of ASCII without blanks, found something else. "
            "Download the token from the portal again."
        )
    return token


class _Session(requests.Session):
    """A session that takes the token out where requests takes out its own kind of credentials, and no other."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        super().rebuild_auth(prepared_request, response)
        if self.should_strip_auth(response.request.url, prepared_request.url):
            prepared_request.headers.pop(TOKEN_HEADER, None)


def _sent(session: requests.Session, method: str, url: str, **details: Any) -> requests.Response:
    """Send a request. Raises what requests raises, and Refused when it is not set up to send any."""
    try:
        return session.request(method, url, stream=True, **details)
    except requests.RequestException:
        raise
    except OSError as error:
        # As when the environment names a file of certificates that is not there.
        advice = "Check the environment's proxy and certificates."
        raise Refused(f"the request could not be sent ({error})", advice) from None


def _is_private(url: str) -> bool:
    """Whether nobody on the way can read a request: it is encrypted, or stays on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _check_status(response: requests.Response, token_file: str | Path | None) -> None:
    """Raise Broken or Refused on an answer that is an error, other than that of a range."""
    status = response.status_code
    if status < 400 or status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    said = _in_words(status)
    if status in _PASSING or status >= 500:
        asked = asked_wait_s(response.headers.get("Retry-After", ""), now=datetime.now(UTC))
        raise Broken(said, asked_wait_s=asked)
    if status in (401, 403) and token_file is None:
        raise Refused(said, "It is not open to everyone: give the file of a token that may read it, or leave it out.")
    if status in (401, 403):
        raise Refused(said, f"The token in {token_file} may not read it or is too old: download a new one.")
    if status in (404, 410):
        raise Refused(said, "It is not there, or has a new id: look it up again by its name.")
    raise Refused(said, "Check the address.")


def asked_wait_s(retry_after: str, *, now: datetime) -> float:
    """How long a Retry-After header asks to wait, in s: it is a number of seconds or a date; 0 when it is neither."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp())


def _in_words(status: int) -> str:
    known = {status.value: status.phrase for status in http.HTTPStatus}
    return f"the server answered {status} ({known.get(status, 'a status that is not in use')})"


def _what_broke(error: Exception, patience: Patience) -> str:
    """A broken connection in a few words, without the addresses of objects that are in the libraries' messages."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {patience.connect_s:g} s"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError) or "timed out" in str(error):
        return f"nothing arrived for {patience.stall_s:g} s"
    if isinstance(error, urllib3.exceptions.HTTPError):
        return "the transfer was cut"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, requests.RequestException):
            return f"no answer ({cause.strerror})"
        cause = cause.__cause__ or cause.__context__
    return "no answer"


def _failure(state: tenacity.RetryCallState) -> Broken:
    failure = state.outcome.exception() if state.outcome else None
    assert isinstance(failure, Broken)
    return failure
