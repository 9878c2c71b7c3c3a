"""A dataset on the hub is the dataset, however often sending it broke off; tested with the hub's own client."""

import pytest
from huggingface_hub import HfApi, constants
from support.hub_server import LARGE_BYTES, TOKEN, hub_server

from anytalk.pipelines import build, check
from anytalk.pipelines import push as pushing
from anytalk.pipelines.push import push
from anytalk.synth.errors import EngineError, SetupError

# The client warns of its own request.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small dataset, with files that the hub takes as they are and one that goes through LFS."""
    folder = tmp_path_factory.mktemp("push") / "dataset"
    build(fake_recipe(), folder, local=True)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert min(sizes) < LARGE_BYTES < max(sizes)
    return folder


def fake_recipe():
    from conftest import FAKE

    from anytalk.pipelines.recipe import Recipe

    return Recipe.model_validate(FAKE | {"source": {"kind": "bundled", "limit": 6}, "shards": {"unit_rows": 4}})


@pytest.fixture
def hub(monkeypatch):
    # The tests run offline, and this server knows nothing of Xet, which the client takes where it is installed.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with hub_server() as served:
        yield served


def client(hub, token=TOKEN):
    return HfApi(endpoint=hub.url, token=token)


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_hub_has_every_file_and_gets_none_twice(hub, dataset):
    first = push(dataset, "me/set", api=client(hub))
    assert hub.repos["me/set"] == files_of(dataset)
    assert hub.private["me/set"] is True
    assert (first.files_sent, first.files_there) == (len(files_of(dataset)), 0)
    assert first.url.endswith("/datasets/me/set")
    assert sorted(hub.commits[-1]) == ["README.md", "SHA256SUMS", "dataset.json"]
    commits = len(hub.commits)
    again = push(dataset, "me/set", api=client(hub))
    assert (again.files_sent, again.files_there, len(hub.commits)) == (0, first.files_sent, commits)


def test_a_push_that_broke_off_goes_on(hub, dataset, monkeypatch):
    monkeypatch.setattr(pushing, "FILES_OF_A_COMMIT", 2)
    push(dataset, "me/other", api=client(hub), public=True)
    hub.repos["me/set"], there = {}, len(hub.commits)
    hub.fail_commits = 0
    calls = iter([False, False, True])

    class Breaking(HfApi):
        def create_commit(self, *arguments, **named):
            hub.fail_commits = int(next(calls, False))
            return super().create_commit(*arguments, **named)

    with pytest.raises(EngineError, match="the same command goes on"):
        push(dataset, "me/set", api=Breaking(endpoint=hub.url, token=TOKEN))
    assert len(hub.commits) - there == 2
    assert "dataset.json" not in hub.repos["me/set"]
    found = push(dataset, "me/set", api=client(hub))
    assert found.files_there == 4
    assert hub.repos["me/set"] == files_of(dataset)
    assert hub.private["me/other"] is False


def test_what_changed_is_sent_again_and_what_is_foreign_is_told(hub, dataset):
    push(dataset, "me/set", api=client(hub))
    shard = next(path for path in hub.repos["me/set"] if path.startswith("shards/"))
    hub.repos["me/set"] |= {shard: bytes(LARGE_BYTES), "README.md": b"mine", "notes.txt": b"mine"}
    found = push(dataset, "me/set", api=client(hub))
    assert (found.files_sent, found.files_other) == (2, 1)
    assert hub.repos["me/set"] == files_of(dataset) | {"notes.txt": b"mine"}


def test_what_the_hub_refuses_is_said_in_a_line_without_the_token(hub, dataset, tmp_path):
    wrong = "hf_wrong_and_secret"
    with pytest.raises(SetupError, match=r"the hub refuses to write to me/set.*hf auth login") as refused:
        push(dataset, "me/set", api=client(hub, wrong))
    assert wrong not in str(refused.value)
    with pytest.raises(SetupError, match="cannot be the name of a repository"):
        push(dataset, "no spaces please", api=client(hub))
    with pytest.raises(SetupError, match="holds no finished dataset"):
        push(tmp_path, "me/set", api=client(hub))
    with pytest.raises(EngineError, match=r"sending to me/set broke off: .*refused"):
        push(dataset, "me/set", api=HfApi(endpoint="http://127.0.0.1:9", token=TOKEN))


def test_a_dataset_that_lacks_a_file_is_not_sent(hub, dataset, tmp_path):
    copy = tmp_path / "copy"
    for path, content in files_of(dataset).items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes(content)
    next((copy / "shards").iterdir()).unlink()
    with pytest.raises(SetupError, match="lacks shards/"):
        push(copy, "me/set", api=client(hub))
    assert hub.repos == {}
    assert check(dataset).well
