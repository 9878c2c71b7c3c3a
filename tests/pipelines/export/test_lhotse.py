"""Cuts that Lhotse itself opens, from Shar and from files."""

import io
import warnings

import numpy as np
import pytest
import soundfile

from anytalk.pipelines.export import Lhotse, export

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it depends on
    from lhotse import CutSet

# Lhotse's reader leaves files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def _samples(audio):
    return soundfile.read(io.BytesIO(audio["bytes"]), dtype="float32")[0]


def test_lhotse_reads_shar_with_sounds_codes_texts_and_measures(built, built_rows, tmp_path):
    found = export(built, Lhotse(), tmp_path / "out", part_rows=4)
    for split, rows in found.splits.items():
        cuts = list(CutSet.from_shar(in_dir=str(tmp_path / "out" / split)))
        assert len(cuts) == rows
        for cut in cuts:
            original = built_rows[cut.id]
            assert np.array_equal(cut.load_audio()[0], _samples(original["question_audio"]))
            assert np.array_equal(cut.load_target_audio()[0], _samples(original["answer_audio"]))
            assert cut.load_target_codes().tolist() == original["answer_codes"]
            assert cut.supervisions[0].text == original["question"]
            assert (cut.question, cut.answer) == (original["question"], original["answer"])
            assert cut.custom["answer_mos"] == original["answer_mos"]
            assert cut.duration == pytest.approx(original["question_samples"] / 16_000)


def test_lhotse_reads_one_side_as_files(built, built_rows, tmp_path, monkeypatch):
    export(built, Lhotse(layout="files", side="answer"), tmp_path / "out", part_rows=4)
    monkeypatch.chdir(tmp_path / "out")
    cuts = list(CutSet.from_file("train.jsonl.gz"))
    assert cuts
    for cut in cuts:
        original = built_rows[cut.id]
        assert np.array_equal(cut.load_audio()[0], _samples(original["answer_audio"]))
        assert (cut.supervisions[0].text, cut.supervisions[0].speaker) == (original["answer"], "eve")
