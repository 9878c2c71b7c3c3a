"""Hashes: a content's, a file's and a folder's, and that a change of a file is seen."""

import hashlib
import os
import shutil

from anytalk.synth.fingerprint import (
    difference,
    engine_fingerprint,
    file_sha256,
    folder_sha256,
    sha256,
    sha256_of_parts,
)
from anytalk.synth.seed import derive_seed, digest


def test_parts_hash_as_the_whole():
    assert sha256_of_parts([b"ab", b"", b"c"]) == sha256(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_a_file_that_changes_has_another_hash(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert file_sha256(file) == sha256(b"one")
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))  # Of the same size, and as if long ago.
    assert file_sha256(file) == sha256(b"two")


def test_a_folder_s_hash_is_of_names_and_contents_and_not_of_where_it_lies(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "a").mkdir(parents=True)
    (one / "a" / "b").write_bytes(b"1")
    (one / "a.b").write_bytes(b"2")
    shutil.copytree(one, other)
    assert folder_sha256(one) == folder_sha256(other)
    (other / "a.b").rename(other / "c")
    assert folder_sha256(one) != folder_sha256(other)


def test_an_engine_s_fingerprint_names_its_version_and_its_files(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    found = engine_fingerprint("numpy", weights=tmp_path / "file", data=tmp_path)
    assert found.keys() == {"engine", "weights_sha256", "data_sha256"}
    assert found["engine"].startswith("numpy ")
    assert str(tmp_path) not in str(found)


def test_a_recogniser_that_is_called_otherwise_is_the_same():
    ours = {"model": "a", "weights_sha256": "1", "context": "full"}
    assert difference(ours, {"model": "b", "weights_sha256": "1"}) == ""
    assert difference(ours, {"model": "a", "weights_sha256": "2"}) == "weights_sha256 '2' instead of '1'"


def test_digests_stay_what_they_were():
    # Names of rows and their seeds follow from these.
    parts = ("ab", 1, None, b"c")
    assert digest(*parts) == sha256(b"str:2:abint:1:1NoneType:4:Nonebytes:1:c")
    assert derive_seed(*parts) == int(digest(*parts)[:16], 16)
