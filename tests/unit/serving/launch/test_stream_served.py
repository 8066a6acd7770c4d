"""A worker of streams in a pod serves what VEDETTE_SERVED says, or ends with the reason before it asks a broker."""

import pytest

from serving.launch.stream import main


@pytest.mark.parametrize(
    ("served", "says"),
    [
        pytest.param("{", "VEDETTE_SERVED is not a serving specification", id="half a specification"),
        pytest.param('{"models": []}', "must serve some model", id="nothing to serve"),
    ],
)
def test_what_cannot_be_served_is_refused_before_a_broker_is_asked(tmp_path, monkeypatch, capsys, served, says):
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(tmp_path))
    monkeypatch.setenv("VEDETTE_SERVED", served)
    monkeypatch.delenv("VEDETTE_STREAM_SERVERS", raising=False)
    assert main() == 1
    assert says in capsys.readouterr().err
