"""An export goes on where it was interrupted, says what it left out, and is not mixed with another."""

import json
from pathlib import Path

import pytest

from anytalk.pipelines.export import HubParquet, TtsParquet, export
from anytalk.synth.errors import SetupError


class Interrupting(HubParquet):
    """Dies in its third part."""

    parts = 0

    def files(self, part, source, leave_out):
        self.__dict__["parts"] = self.parts + 1
        if self.parts == 3:
            raise KeyboardInterrupt
        yield from super().files(part, source, leave_out)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_interrupted_export_keeps_its_parts_and_ends_with_the_same_bytes(built, tmp_path):
    export(built, HubParquet(), tmp_path / "whole", part_rows=4)
    with pytest.raises(KeyboardInterrupt):
        export(built, Interrupting(), tmp_path / "out", part_rows=4)
    [first] = (tmp_path / "out" / "data").glob("train-00000-*")
    before = first.stat().st_mtime_ns
    found = export(built, HubParquet(), tmp_path / "out", part_rows=4)
    assert found.parts_kept == 2
    assert first.stat().st_mtime_ns == before
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")
    assert not (tmp_path / "out" / "export").exists()


def test_a_finished_export_is_not_written_again(built, tmp_path):
    export(built, HubParquet(), tmp_path / "out")
    before = _contents(tmp_path / "out")
    again = export(built, HubParquet(), tmp_path / "out")
    assert again.parts_kept > 0
    assert _contents(tmp_path / "out") == before


def test_what_else_is_in_the_folder_is_refused_in_a_line(built, tmp_path):
    export(built, HubParquet(), tmp_path / "out")
    with pytest.raises(SetupError, match="an export with other format, options: name another folder"):
        export(built, TtsParquet(), tmp_path / "out")
    with pytest.raises(SetupError, match="is not empty, and holds no export"):
        export(built, TtsParquet(), built)
    with pytest.raises(SetupError, match="no split 'tests'"):
        export(built, TtsParquet(), tmp_path / "other", splits=["tests"])
    with pytest.raises(SetupError, match="no finished anytalk dataset"):
        export(tmp_path, TtsParquet(), tmp_path / "other")


def test_every_file_is_in_the_manifest_and_every_row_is_counted(built, built_rows, tmp_path):
    found = export(built, TtsParquet(), tmp_path / "out", part_rows=4)
    manifest = json.loads((tmp_path / "out" / "export.json").read_text())
    assert sorted([*(file["path"] for file in manifest["files"]), "export.json"]) == sorted(_contents(tmp_path / "out"))
    assert found.rows == len(built_rows) == sum(found.splits.values())
    assert found.left_out == {}
