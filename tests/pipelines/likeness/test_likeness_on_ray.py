"""Near-duplicates and evaluation texts are the same ones on Ray Data as in this process."""

import random

import pytest

from anytalk.pipelines.likeness import (
    Document,
    EvaluationIndex,
    EvaluationText,
    bands_for,
    candidate,
    contaminations,
    near_duplicates,
    spooled,
)
from anytalk.pipelines.likeness.candidate import pairs_here
from anytalk.pipelines.likeness.ray_data import ray_data


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # its own defaults
def test_ray_finds_what_this_process_finds(monkeypatch):
    rng = random.Random(7)
    originals = [[rng.choice("abcdefghijklmnop") * 2 for _ in range(20)] for _ in range(1000)]
    copies = [[rng.choice("xyz") if rng.random() < 0.05 else word for word in words] for words in originals * 3]
    texts = [" ".join(words) for words in [*originals, *copies, ["the", "same"], ["the", "same"]]]
    documents = [Document(str(place), (text, "", "Yes.")) for place, text in enumerate(texts)]
    evaluations = [EvaluationText(str(place), texts[place]) for place in range(0, 1000, 9)]
    index = EvaluationIndex(evaluations, 8, 0.5)
    with ray_data(), spooled(documents[500:], documents[:500]) as spool:
        assert (spool.batches, spool.earlier) == (2, 500)
        pairs = list(pairs_here(spool, 2, bands_for(0.7)))
        assert pairs == sorted(set(pairs)) != []
        gone = list(near_duplicates(spool, 0.7, 2))
        assert 1000 < len(gone) < 3000
        monkeypatch.setattr(candidate, "PART_ROWS", 2**15)  # Several parts
        assert gone == list(near_duplicates(spool, 0.7, 2, on_ray=True))
        found = list(contaminations((document.texts for document in documents), index))
        assert len(found) > 200
        assert found == list(contaminations((document.texts for document in documents), index, on_ray=True))
