"""What a scraper, a load balancer and a person with curl get."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from tools.metrics.server import Server, application


class Site:
    """A server whose system has whatever problems a test says."""

    def __init__(self) -> None:
        self.problems: tuple[str, ...] = ()
        registry = CollectorRegistry()
        Gauge("hft_test", "for the test", registry=registry).set(3)
        self.server = Server("127.0.0.1", 0, application(registry, lambda: self.problems))

    def ask(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("Content-Type") or "", body


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    yield found
    found.server.close()


def test_metrics_are_in_the_format_that_prometheus_reads(site: Site) -> None:
    status, kind, body = site.ask("/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "hft_test 3.0\n" in body


def test_a_well_system_answers_200(site: Site) -> None:
    status, kind, body = site.ask("/healthz")
    assert (status, kind) == (200, "application/json")
    assert json.loads(body) == {"healthy": True, "problems": []}


def test_what_is_wrong_is_told_with_503(site: Site) -> None:
    site.problems = ("feed is failed",)
    status, _, body = site.ask("/healthz")
    assert status == 503
    assert json.loads(body) == {"healthy": False, "problems": ["feed is failed"]}


def test_there_is_nothing_else_and_nothing_to_change(site: Site) -> None:
    assert site.ask("/")[0] == 200
    assert site.ask("/admin")[0] == 404
    assert site.ask("/metrics", "POST")[0] == 405
    assert site.ask("/healthz", "DELETE")[0] == 405


def test_a_head_request_gets_no_body(site: Site) -> None:
    assert site.ask("/metrics", "HEAD")[2] == ""
    assert site.ask("/healthz", "HEAD")[::2] == (200, "")


def test_a_silent_client_keeps_nobody_waiting(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.server.port)):
        assert site.ask("/healthz")[0] == 200


def test_a_taken_port_is_an_error_of_the_system(site: Site) -> None:
    with pytest.raises(OSError, match="in use"):
        Server("127.0.0.1", site.server.port, application(CollectorRegistry(), tuple))
