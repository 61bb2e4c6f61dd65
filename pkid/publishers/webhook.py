"""Public files, posted to a web service of the operator's own.

One POST for each file, the octets as they are::

    POST <url>
    Content-Type: application/pkix-crl
    X-Pkid-Path: crls/issuing.crl
    X-Pkid-Time: 1764000000
    X-Pkid-Signature: sha256=<HMAC, hexadecimal>

The HMAC covers the time, a dot, the path, a dot and the octets, so that nobody can put
old octets in the place of new ones. Any 2xx takes the file; everything else has it
posted again, later: the same file may come twice.

**Source:** ENG-34.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError

SIGNATURE_HEADER: Final = "X-Pkid-Signature"
TIME_HEADER: Final = "X-Pkid-Time"
PATH_HEADER: Final = "X-Pkid-Path"
MEDIA_TYPES: Final = {
    "crl": "application/pkix-crl",
    "cer": "application/pkix-cert",
    "p7c": "application/pkcs7-mime",
}
_MOST_ANSWER: Final = 64 * 1024


class _TooMuchError(Exception):
    """An answer longer than any should be."""


class WebhookPublisher:
    """The `Publisher` port over one web service.

    :param agent: Twisted's ``IAgent``; it brings connections and trust.
    :param timer: the reactor.
    :param seconds: for one file, from first to last.
    :param secret: key of the signatures; b"" leaves them out.
    """

    def __init__(
        self,
        url: str,
        *,
        agent: Any,  # noqa: ANN401 - only transports name twisted.web's interfaces
        timer: IReactorTime,
        clock: Clock,
        seconds: float,
        secret: bytes,
    ) -> None:
        self._url = url
        self._client = HTTPClient(agent)
        self._timer = timer
        self._clock = clock
        self._seconds = seconds
        self._secret = secret

    async def put(self, path: str, octets: bytes) -> None:
        """Post one file.

        :raises PKIError: ``UNAVAILABLE`` unless the service took it in time.
        """
        work = Deferred.fromCoroutine(self._post(path, octets))
        work.addTimeout(self._seconds, self._timer)
        try:
            status = await work
        except Exception as fault:  # noqa: BLE001  whatever a network can do
            raise self._unavailable(type(fault).__name__) from None
        if not 200 <= status < 300:
            raise self._unavailable(f"status {status}")

    async def _post(self, path: str, octets: bytes) -> int:
        response = await self._client.request(
            "POST",
            self._url,
            data=octets,
            headers=self._headers(path, octets),
            allow_redirects=False,
            unbuffered=True,
        )
        size = 0

        def count(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > _MOST_ANSWER:
                raise _TooMuchError

        await response.collect(count)
        status: int = response.code
        return status

    def _headers(self, path: str, octets: bytes) -> dict[bytes | str, bytes | str]:
        moment = str(int(self._clock.now().timestamp()))
        kind = path.rpartition(".")[2]
        headers: dict[bytes | str, bytes | str] = {
            "Content-Type": MEDIA_TYPES.get(kind, "application/octet-stream"),
            PATH_HEADER: path,
            TIME_HEADER: moment,
        }
        if self._secret:
            signed = b"%b.%b." % (moment.encode("ascii"), path.encode("ascii"))
            digest = hmac.new(self._secret, signed, "sha256")
            digest.update(octets)
            headers[SIGNATURE_HEADER] = f"sha256={digest.hexdigest()}"
        return headers

    def _unavailable(self, hint: str) -> PKIError:
        # A query may hold what is not for logs.
        place = self._url.partition("?")[0]
        return PKIError(
            ErrorCode.UNAVAILABLE,
            "a publisher does not take a public file",
            hint=f"{place}: {hint}",
            retry_after=60,
        )
