"""What a connection that failed has said, in words that go on a sentence of ours."""

from __future__ import annotations

import pytest

from deadband_monitor.remote.far import Far


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ssh: Could not resolve hostname box: No such host is known.", "no such host is known"),
        ("box: Name or service not known", "name or service not known"),
        ("ssh: connect to host box port 22: Connection refused\r\n", "connection refused"),
        ("Connection to 10.0.0.7 closed by remote host.", "closed by the host"),
        ("Connection closed by 10.0.0.7 port 22", "closed by the host"),
        ("kex_exchange_identification: read: Connection reset by peer", "reset by the host"),
        ("Connection timed out during banner exchange", "timed out"),
        ("Connection to 10.0.0.7 port 22 timed out", "timed out"),
        ("ssh: connect to host box port 22: Connection timed out", "timed out"),
        ("KeyError: 7", "KeyError: 7"),
        ("Exception: the pod is gone", "Exception: the pod is gone"),
        ("Killed", "killed"),
    ],
)  # fmt: skip
def test_why_there_is_no_connection_names_the_host_once_and_exceptions_as_they_are(
    said: str, words: str
) -> None:
    assert Far(name="me@box").explain(1, said, asking=True) == words
