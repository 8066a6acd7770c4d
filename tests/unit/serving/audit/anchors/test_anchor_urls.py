"""Anchors by their URLs: what is understood, what is refused and how it is said."""

import pytest

from serving.audit.anchors.folder import FolderAnchor
from serving.audit.anchors.objects import ObjectAnchor
from serving.audit.anchors.port import AnchorUrlError
from serving.audit.anchors.urls import open_anchor, open_anchors


def test_several_urls_stand_in_one_setting():
    found = open_anchors(" file:///mnt/worm  memory://bucket/x ")
    assert [(type(anchor), anchor.label) for anchor in found] == [
        (FolderAnchor, "file:///mnt/worm"),
        (ObjectAnchor, "memory://bucket/x"),
    ]
    assert open_anchors("") == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/mnt/worm", "expected file:///FOLDER"),
        ("file://mnt/worm", "three slashes"),
        ("file:///mnt/worm?lock=7", "unknown options"),
        ("gopher://old/place", "gopher"),
        ("kafka://host:9092", "kafka://HOST:PORT/TOPIC"),
        ("s3://bucket/x?lock=for-ever", "number of years"),
        ("s3://bucket/x?lock_mode=maybe", "COMPLIANCE or GOVERNANCE"),
        ("s3://bucket/x?lok=7", "unknown options"),
        ("memory://bucket/x?lock=7", "unknown options"),
    ],
)
def test_what_is_not_understood_is_an_error_that_says_what_is_expected(url, says):
    with pytest.raises(AnchorUrlError, match=says):
        open_anchor(url)


@pytest.mark.parametrize(
    "url", ["ftp://soc:hunter2@host/x", "ftp://soc:hunter2@host/x?y=hunter2", "kafka://host/a/b?sasl.password=hunter2"]
)
def test_no_password_gets_into_logs_metrics_or_messages(url):
    try:
        said = open_anchor(url).label
    except AnchorUrlError as error:
        said = str(error)
    assert "host" in said
    assert "hunter2" not in said


def test_a_password_of_kafka_may_be_in_a_file(tmp_path):
    with pytest.raises(AnchorUrlError, match=r"kafka://host:9092/x: Kafka option sasl\.password: .*password cannot be read"):
        open_anchor(f"kafka://host:9092/x?file:sasl.password={tmp_path}/password")
    (tmp_path / "password").write_text("hunter2\n", encoding="utf-8")
    anchor = open_anchor(f"kafka://host:9092/x?security.protocol=SASL_SSL&file:sasl.password={tmp_path}/password")
    assert anchor.label == "kafka://host:9092/x"
