"""What somebody finds who has got into the place of an anchor, and what becomes of it."""

import pytest
from botocore.exceptions import ClientError

from serving.audit.anchors.port import AnchorError
from serving.audit.anchors.urls import open_anchor
from tests.contract.serving.anchors.anchor_kinds import locked_bucket, s3_client, s3_server


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as url:
        yield url


@pytest.fixture
def locked(endpoint, monkeypatch):
    bucket = locked_bucket(endpoint)
    return bucket, open_anchor(f"s3://{bucket}/vedette?lock=7&endpoint={endpoint}&region=eu-central-1"), s3_client(endpoint)


def versions(client, bucket):
    return client.list_object_versions(Bucket=bucket).get("Versions", [])


def test_a_locked_checkpoint_cannot_be_deleted(locked, note):
    bucket, anchor, client = locked
    anchor.publish(note())
    (version,) = versions(client, bucket)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    held = client.head_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    assert held["ObjectLockMode"] == "COMPLIANCE"
    assert held["ObjectLockRetainUntilDate"].year >= version["LastModified"].year + 6


def test_an_overwritten_checkpoint_keeps_its_first_version(locked, note):
    bucket, anchor, client = locked
    anchor.publish(note())
    (first,) = versions(client, bucket)
    client.put_object(Bucket=bucket, Key=first["Key"], Body=b"forged")
    found = {
        v["VersionId"]: client.get_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])["Body"].read()
        for v in versions(client, bucket)
    }
    assert found[first["VersionId"]] == note().encode(), "what was published is still there"
    assert len(found) == 2, "and that somebody wrote over it is seen"
    with pytest.raises(AnchorError, match="another checkpoint"):
        anchor.publish(note())


def test_an_anchor_never_writes_over_what_is_there(locked, note):
    bucket, anchor, client = locked
    anchor.publish(note())
    with pytest.raises(AnchorError, match="another checkpoint"):
        anchor.publish(note(root=b"\2" * 32))
    assert len(versions(client, bucket)) == 1


def test_a_bucket_without_object_lock_is_refused_where_the_lock_is_asked_for(endpoint, note):
    bucket = locked_bucket(endpoint) + "-open"
    s3_client(endpoint).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    with pytest.raises(AnchorError):
        open_anchor(f"s3://{bucket}/x?lock=7&endpoint={endpoint}&region=eu-central-1").publish(note())


def test_a_forged_checkpoint_in_a_folder_is_not_taken_for_ours(tmp_path, note):
    anchor = open_anchor((tmp_path / "elsewhere").as_uri())
    anchor.publish(note())
    (path,) = (tmp_path / "elsewhere").rglob("*.note")
    path.chmod(0o640)
    path.write_text(note(root=b"\2" * 32))
    with pytest.raises(AnchorError, match="another checkpoint"):
        anchor.publish(note())


def test_an_anchor_that_is_down_says_so(tmp_path, note):
    (tmp_path / "elsewhere").write_text("in the way")
    with pytest.raises(AnchorError, match="elsewhere"):
        open_anchor((tmp_path / "elsewhere").as_uri()).publish(note())
