"""Signed notes, as other programs write and read them."""

import pytest

from serving.audit.signed_note import NoteError, Signer, SigningKeyError, VerifierKey, signers_of, text_of

GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example in the documentation of golang.org/x/mod/sumdb/note."""


def test_a_note_that_go_signed_is_verified():
    key = VerifierKey.parse(GO_KEY)
    assert signers_of(GO_NOTE, [key]) == [key]
    assert str(key) == GO_KEY


def test_a_note_is_verified_by_its_key_alone(tmp_path):
    ours, other = Signer.create(tmp_path / "ours.pem"), Signer.create(tmp_path / "other.pem")
    note = ours.sign("one\ntwo\n")
    assert text_of(note) == "one\ntwo\n"
    assert signers_of(note, [other.verifier, ours.verifier]) == [ours.verifier]
    assert signers_of(note, [other.verifier]) == []


@pytest.mark.parametrize("change", [lambda note: note.replace("one", "two"), lambda note: note[:-8] + "AAAA" + note[-4:]])
def test_a_changed_note_is_false(tmp_path, change):
    ours = Signer.create(tmp_path / "ours.pem")
    with pytest.raises(NoteError):
        signers_of(change(ours.sign("one\n")), [ours.verifier])


def test_a_key_comes_back_from_its_file_and_is_nobody_elses_to_read(tmp_path):
    made = Signer.create(tmp_path / "replica.pem")
    assert Signer.from_file(tmp_path / "replica.pem").verifier == made.verifier
    assert (tmp_path / "replica.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        Signer.create(tmp_path / "replica.pem")


@pytest.mark.parametrize("content", [None, b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_named_with_the_way_out(tmp_path, content):
    path = tmp_path / "audit.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SigningKeyError, match=r"audit\.pem.*vedette audit key new"):
        Signer.from_file(path)


@pytest.mark.parametrize("text", ["", "a", "a+b", "a+00000000+AAAA", GO_KEY[:-4] + "AAAA"])
def test_what_is_no_verifier_key_is_refused(text):
    with pytest.raises(NoteError):
        VerifierKey.parse(text)


@pytest.mark.parametrize("text", ["no newline", "an\n\nempty line\n"])
def test_a_text_that_cannot_be_a_note_is_refused(tmp_path, text):
    with pytest.raises(NoteError):
        Signer.create(tmp_path / "k.pem").sign(text)
