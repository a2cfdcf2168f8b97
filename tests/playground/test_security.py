"""Which requests are answered: those for our own names, from our own pages or from none."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from playground.security import guard, host_name

NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def client(bound: str = "127.0.0.1", *extra: str) -> TestClient:
    """A page, an endpoint and a socket behind the guard."""

    async def socket(websocket):
        await websocket.accept()
        await websocket.close()

    async def page(request):
        return PlainTextResponse("the page")

    app = Starlette(
        routes=[Route("/", page, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)],
        middleware=[guard(bound, extra)],
    )
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:7860", "localhost:1", "LocalHost:7860", "[::1]", "[::1]:7860"],
)
def test_local_names_are_answered_on_any_port(host):
    assert client().get("/", headers={"host": host}).text == "the page"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example",
     "[::2]:7860", "192.168.1.5:7860", "127.0.0.1@evil.example", "[evil.example]"],
)  # fmt: skip
def test_a_foreign_name_is_refused_with_the_flag_that_allows_it(host):
    answer = client().get("/", headers={"host": host})
    assert answer.status_code == 403
    assert f"--allow-host {host_name(host)}" in answer.text


@pytest.mark.parametrize(
    ("given", "host"),
    [("pico.school", "pico.school"), ("Pico.School", "pico.school:8000"),
     ("pico.school:8000", "pico.school"), ("2001:db8::1", "[2001:db8::1]:7860"),
     ("[2001:db8::1]", "[2001:DB8::1]"), ("*", "anything.example")],
)  # fmt: skip
def test_allow_host_adds_a_name_however_it_is_written(given, host):
    assert client("127.0.0.1", given).get("/", headers={"host": host}).status_code == 200


def test_the_address_bound_is_a_name_of_ours_and_others_are_not():
    behind = client("192.168.1.5")
    assert behind.get("/", headers={"host": "192.168.1.5:7860"}).status_code == 200
    assert behind.get("/", headers={"host": "192.168.1.6:7860"}).status_code == 403


def test_a_server_on_all_addresses_still_answers_for_known_names_only():
    assert client("0.0.0.0").get("/", headers={"host": "evil.example"}).status_code == 403


def test_clients_without_browser_headers_pass():
    assert client().post("/", headers={}).status_code == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_pages_pass(site):
    assert client().post("/", headers={"sec-fetch-site": site}).status_code == 200


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("GET", {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}),
        ("GET", {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}),
        ("POST", NAVIGATION),  # a form on another site
        ("GET", NAVIGATION | {"sec-fetch-dest": "iframe"}),
    ],
)
def test_a_page_of_another_site_is_refused(method, headers):
    answer = client().request(method, "/", headers={"sec-fetch-site": "cross-site"} | headers)
    assert answer.status_code == 403
    assert answer.text.startswith("This request came from a page of another site.")


def test_a_link_on_another_site_may_lead_here():
    headers = {"sec-fetch-site": "cross-site"} | NAVIGATION
    assert client().get("/", headers=headers).text == "the page"


def test_websockets_are_guarded_too():
    with client().websocket_connect("/ws", headers={"host": "localhost"}):
        pass
    for headers in ({"host": "evil.example"}, {"sec-fetch-site": "cross-site"}):
        with (
            pytest.raises(WebSocketDisconnect) as closed,
            client().websocket_connect("/ws", headers=headers),
        ):
            pass
        assert closed.value.code == 1008


def test_a_space_answers_for_its_own_host(monkeypatch):
    monkeypatch.setenv("SPACE_HOST", "me-pico.hf.space")
    assert client("0.0.0.0").get("/", headers={"host": "me-pico.hf.space"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "name"),
    [("", ""), ("A.b:80", "a.b"), ("[::1]:80", "::1"), ("::1", "::1"), ("[::1", "::1")],
)
def test_host_name(header, name):
    assert host_name(header) == name
