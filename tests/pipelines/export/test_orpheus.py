"""Tokens for Orpheus-style finetuning, against the ids of the public notebooks."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tokenizer import write_tokenizer

from anytalk.pipelines.export import BASES, Orpheus, export
from anytalk.synth.codec.order import to_frames
from anytalk.synth.errors import SetupError

ORPHEUS = BASES["orpheus"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A tokenizer of a few words with Llama 3's first token."""
    return str(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def test_ids_are_those_of_the_notebooks():
    # `tokenise_audio` takes codes[0][i], [1][2i], [2][4i], [2][4i + 1], [1][2i + 1], [2][4i + 2], [2][4i + 3] and adds
    # 128266 and 0, 4096, ..., 6 * 4096 to them; `create_input_ids` puts the rest around.
    codes = to_frames([np.array([1, 8]), np.array([2, 5, 9, 12]), np.array([3, 4, 6, 7, 10, 11, 13, 4095])])
    first = [128267, 132364, 136461, 140558, 144655, 148752, 152849]
    second = [128274, 132371, 136468, 140565, 144662, 148759, 156937]
    assert ORPHEUS.prompt([128000, 7, 8]) == [128259, 128000, 7, 8, 128009, 128260, 128261, 128257]
    assert ORPHEUS.speech(codes) == [*first, *second, 128258, 128262]
    assert BASES["qwen3"].first_code == 151_679
    assert BASES["lfm2"].first_code == 64_410


def test_codes_come_back_from_tokens_with_every_frame(built, built_rows, tokenizer, tmp_path):
    found = export(built, Orpheus(tokenizer, any_codec=True), tmp_path / "out")
    seen = 0
    for path in sorted((tmp_path / "out" / "data").iterdir()):
        tokens = pq.read_table(path)
        assert tokens.column_names == ["input_ids", "labels", "attention_mask"]
        rows = pq.read_table(tmp_path / "out" / "rows" / path.name).to_pylist()
        for one, row in zip(tokens.to_pylist(), rows, strict=True):
            original = built_rows[row["id"]]
            ids = one["input_ids"]
            assert ids[:4] == [128259, 128000, 2, 3]  # "eve: ..."
            assert ids[-1] == 128262
            assert one["labels"] == ids
            assert one["attention_mask"] == [1] * len(ids)
            assert ORPHEUS.codes(ids).tolist() == original["answer_codes"]
            assert row["answer_wer"] == original["answer_wer"]
            seen += 1
    assert seen == found.rows == len(built_rows)


def test_the_prompt_can_be_without_loss_and_without_speaker(built, tokenizer, tmp_path):
    export(built, Orpheus(tokenizer, source="", mask_prompt=True, any_codec=True), tmp_path / "out")
    one = pq.read_table(tmp_path / "out" / "data").to_pylist()[0]
    start = one["input_ids"].index(128257) + 1
    assert one["input_ids"][2] != 2
    assert one["labels"] == [-100] * start + one["input_ids"][start:]


def test_long_rows_are_left_out_and_named_not_cut(built, built_rows, tokenizer, tmp_path):
    lengths = sorted(len(row["answer_codes"]) for row in built_rows.values())
    limit = lengths[len(lengths) // 2] * 7
    found = export(built, Orpheus(tokenizer, max_tokens=limit, any_codec=True), tmp_path / "out")
    assert found.left_out["too_many_tokens"] + found.rows == len(built_rows)
    assert found.left_out["too_many_tokens"] > 0
    assert len((tmp_path / "out" / "left_out.jsonl").read_text().splitlines()) == found.left_out["too_many_tokens"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tokenizer": "/no/such/folder"}, "cannot be loaded"),
        ({"any_codec": False}, "expects SNAC"),
        ({"base": BASES["lfm2"]}, r"begins a text with \[128000\], this base's with \[1\]"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_written(built, tokenizer, tmp_path, change, told):
    options = {"tokenizer": tokenizer, "any_codec": True} | change
    with pytest.raises(SetupError, match=told) as error:
        export(built, Orpheus(**options), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
