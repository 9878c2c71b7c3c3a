"""A small dataset that was built with fake engines, for exports to read."""

import pytest
import yaml

from anytalk.pipelines import build
from anytalk.pipelines.recipe import load_recipe


@pytest.fixture(scope="session")
def built(fake_sections, tmp_path_factory):
    """Nine conversations in two voices each, some of them in the validation split; units of four rows."""
    folder = tmp_path_factory.mktemp("built")
    sections = {"source": {"kind": "bundled", "limit": 9}, "split": {"validation": 0.3}}
    voices = {"question": ["fake:ann", "fake:bob"], "answer": "fake:eve", "variants": 2}
    (folder / "fake.yaml").write_text(yaml.safe_dump(fake_sections | sections | {"voices": voices}))
    build(load_recipe(folder / "fake.yaml"), folder / "dataset", local=True)
    return folder / "dataset"


@pytest.fixture(scope="session")
def built_rows(built):
    """Its rows by id, audio as bytes, codes as lists."""
    import pyarrow as pa

    tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in sorted((built / "shards").iterdir())]
    return {row["id"]: row for table in tables for row in table.to_pylist()}
