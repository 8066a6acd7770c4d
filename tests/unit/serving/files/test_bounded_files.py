"""Files of people are read whole, but not without end."""

import errno
import os

import pytest

from serving.doors.tls.files import TlsFilesAway, _content
from serving.files.bounded_files import read_bounded
from serving.risk.rules_of_risk import FILE, RiskRulesError, read_rules
from serving.sinks.config import SinkConfigError, read_config


@pytest.fixture
def huge(tmp_path):
    """Of four tebibytes that take no place."""
    path = tmp_path / FILE
    path.touch()
    os.truncate(path, 1 << 42)
    return path


def test_a_file_of_just_as_much_is_read_and_one_of_a_byte_more_is_not(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"four")
    assert read_bounded(path, 4) == b"four"
    with pytest.raises(OSError, match="more than 3 bytes") as refused:
        read_bounded(path, 3)
    assert refused.value.errno == errno.EFBIG


def test_no_file_of_settings_is_read_without_end(huge):
    with pytest.raises(SinkConfigError, match="more than"):
        read_config(huge)
    with pytest.raises(RiskRulesError, match="more than"):
        read_rules(huge.parent)
    with pytest.raises(TlsFilesAway, match="more than"):
        _content(huge, "TLS_CERT")
