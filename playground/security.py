"""Who may talk to the server: requests for its own host name, from its own pages or from none.

A page elsewhere on the web can make a browser send requests to 127.0.0.1; the names in `Host`
and `Sec-Fetch-Site`, which scripts cannot forge, tell such requests apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
SAFE_SITES = ("same-origin", "same-site", "none")


class Guard:
    """ASGI middleware that answers 403 to foreign hosts and to foreign pages.

    A request without these headers passes (scripts, `gradio_client`), and so does a person
    following a link to the page.

    Args:
        app: the application behind it.
        hosts: host names that are ours; `*` allows all.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = {host_name(host) for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with the reason why not."""
        problem = self._problem(scope) if scope["type"] in ("http", "websocket") else ""
        if not problem:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(problem, status_code=403)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _problem(self, scope: Scope) -> str:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = host_name(headers.get(b"host", ""))
        if host and "*" not in self.hosts and host not in self.hosts:
            return f"This server does not answer for {host}. Start it with --allow-host {host}."
        site = headers.get(b"sec-fetch-site", "none")
        navigation = (
            headers.get(b"sec-fetch-mode") == "navigate"
            and headers.get(b"sec-fetch-dest", "document") == "document"
            and scope.get("method") == "GET"
        )
        if site not in SAFE_SITES and not navigation and "*" not in self.hosts:
            return "This request came from a page of another site. Open the playground itself."
        return ""


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name if name.count(":") > 1 else name.partition(":")[0]  # several: a bare IPv6


def guard(host: str, extra_hosts: Iterable[str] = ()) -> Middleware:
    """The middleware for a server bound to `host`.

    Args:
        host: the address bound; on 0.0.0.0 its own names are still only the local ones.
        extra_hosts: further names, from `--allow-host`.
    """
    hosts = [*LOCAL_HOSTS, host, *extra_hosts]
    if os.environ.get("SPACE_HOST"):
        hosts.append(os.environ["SPACE_HOST"])
    return Middleware(Guard, hosts=hosts)
