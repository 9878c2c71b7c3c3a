"""Tar shards that the webdataset library reads."""

import warnings

import pytest

from anytalk.pipelines.export import WebDataset, export

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it depends on
    import webdataset

# Its reader leaves files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def test_webdataset_reads_every_sample_whole(built, built_rows, tmp_path):
    found = export(built, WebDataset(), tmp_path / "out", part_rows=4)
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert len(shards) > 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert len(samples) == found.rows == len(built_rows)
    for sample in samples:
        original = built_rows[sample["__key__"]]
        assert sample["question.flac"] == original["question_audio"]["bytes"]
        assert sample["answer.flac"] == original["answer_audio"]["bytes"]
        assert sample["codes.npy"].tolist() == original["answer_codes"]
        assert sample["json"]["answer"] == original["answer"]
        assert sample["json"]["answer_wer"] == original["answer_wer"]
        assert "features.npy" not in sample
