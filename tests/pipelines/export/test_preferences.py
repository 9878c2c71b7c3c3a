"""Pairs of an utterance that passed and a failed attempt at the same text."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import yaml

from anytalk.pipelines import build
from anytalk.pipelines.export import Preferences, export
from anytalk.pipelines.recipe import load_recipe

PAIRS = [{"question": f"Number {n}?", "answer": "Said" + " so" * (n % 5) + "."} for n in range(8)]


def test_failed_attempts_stand_beside_the_one_that_passed(fake_sections, anything, write_jsonl, tmp_path):
    # Tones are no speech, so all of one counts as silence: a length that changes from attempt to attempt.
    answer = anything | {"max_leading_silence_s": 0.5}
    sections = {
        "source": str(write_jsonl(PAIRS)),
        "voices": {"question": ["fake:ann"], "answer": {"voice": "fake:eve", "speed": [0.6, 1.6]}},
        "check": {"mos": "fake", "attempts": 4, "question": anything, "answer": answer},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fake_sections | sections))
    build(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "dataset", local=True)
    found = export(tmp_path / "dataset", Preferences(), tmp_path / "out")
    pairs = pq.read_table(tmp_path / "out" / "data").to_pylist()
    kept = [
        (row["id"], attempt["side"], attempt["attempt"])
        for path in (tmp_path / "dataset" / "attempts").iterdir()
        for row in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist()
        for attempt in row["attempts"]
    ]
    assert kept
    assert len(pairs) == len(kept)
    assert len({pair["id"] for pair in pairs}) == found.rows
    for pair in pairs:
        assert pair["chosen_leading_silence_s"] <= 0.5 < pair["rejected_leading_silence_s"]
        assert pair["rejected_reason"] == "leading_silence"
        for end in ("chosen", "rejected"):
            assert soundfile.info(io.BytesIO(pair[f"{end}_audio"]["bytes"])).frames > 0
        assert pair["side"] == "answer"
        assert pair["chosen_codes"]
    assert found.left_out == {"no_failed_attempt": found.left_out["no_failed_attempt"]}
