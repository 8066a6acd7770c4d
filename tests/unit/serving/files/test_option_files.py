"""Secret properties of librdkafka: from files, and no message has them."""

import re
from pathlib import Path

import confluent_kafka
import pytest

from serving.files.option_files import SECRET, OptionFileError, with_option_files


def test_a_property_is_the_text_of_its_file_without_the_last_line_break(tmp_path):
    (tmp_path / "password").write_bytes(b" hush hush \r\n")
    (tmp_path / "key").write_text("-----BEGIN\nKEY-----\n", encoding="utf-8")
    found = with_option_files({"a": "1"}, {"sasl.password": tmp_path / "password", "ssl.key.pem": tmp_path / "key"})
    assert found == {"a": "1", "sasl.password": " hush hush ", "ssl.key.pem": "-----BEGIN\nKEY-----"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "cannot be read: No such file", id="not there"),
        pytest.param(b"\n", "is empty", id="empty"),
        pytest.param(b"hush\xff", "is not text in UTF-8", id="no text"),
        pytest.param(b"hush" * 100_000, "it has more than 65536 bytes", id="too large"),
    ],
)
def test_a_file_that_holds_no_secret_is_named_with_its_property(tmp_path, content, says):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionFileError, match=says) as raised:
        with_option_files({}, {"sasl.password": path})
    assert str(raised.value).startswith(f"Kafka option sasl.password: {path} ")
    assert "hush" not in str(raised.value)


def test_every_secret_property_that_the_library_knows_is_refused_in_the_open():
    libraries = list((Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*"))
    if not libraries:
        pytest.skip("librdkafka is not the one of the wheel: its properties cannot be listed")
    names = re.findall(rb"\0((?:sasl|ssl)\.[a-z.]*(?:password|passphrase|secret|key\.pem))(?=\0)", libraries[0].read_bytes())
    found = {name.decode() for name in names}
    assert {"sasl.password", "ssl.key.pem"} <= found
    assert found <= SECRET
