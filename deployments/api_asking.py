"""Asking Prefect's API without Prefect's client, but as that would: with the same CA and the same login."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit, urlunsplit


@dataclass(frozen=True)
class Way:
    """How to reach an API.

    Args:
        auth: ``user:password``, empty for none.
        ca: File with the CA of its certificate, empty for those that the system trusts (PREFECT_API_SSL_CERT_FILE).
        unverified: Whether its certificate is not looked at (PREFECT_API_TLS_INSECURE_SKIP_VERIFY).
    """

    auth: str = field(default="", repr=False)
    ca: str = ""
    unverified: bool = False

    def open(self, url: str, timeout: float) -> http.client.HTTPResponse:
        """Ask.

        Args:
            url: http or https; a password in it is left out.
            timeout: Seconds.

        Raises:
            OSError: Nobody answers, or with an error (HTTPError), or it can't be trusted.
        """
        parts = urlsplit(url)
        request = urllib.request.Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))  # noqa: S310
        if self.auth:
            request.add_header("Authorization", "Basic " + base64.b64encode(self.auth.encode()).decode())
        context = self._context() if parts.scheme == "https" else None
        opened = urllib.request.urlopen(request, timeout=timeout, context=context)  # noqa: S310 - the operator's own URL
        return cast(http.client.HTTPResponse, opened)

    def answers(self, api: str, timeout: float) -> bool:
        """Whether the API at this URL is well."""
        try:
            with self.open(f"{api.rstrip('/')}/health", timeout) as answer:
                return answer.status == 200
        except (OSError, ValueError):
            return False

    def _context(self) -> ssl.SSLContext:
        if self.unverified:
            return ssl._create_unverified_context()  # noqa: S323 - the operator's own setting
        return ssl.create_default_context(cafile=self.ca or None)
