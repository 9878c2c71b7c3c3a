"""Builds that are disturbed in every way that we know, drawn from a seed, until they are done all the same.

Each build is a process of its own, forked from one that has imported everything: real processes, really killed.
"""

import contextlib
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE_S = 300.0
TIMES = ("wall_s", "seconds")
"""Keys of JSON files that say how long something took, and nothing of the data."""

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["anytalk.recipes.cli.main", "anytalk.pipelines", "torch", "support.faulty"])


def _command(words: list[str], log: Path, fsize: int | None, environment: dict[str, str]) -> None:
    """What a forked process does: one command line, with a limit on the size of its files if so wanted."""
    from support import faulty  # noqa: F401 - knows faulty://

    from anytalk.recipes.cli.main import main

    os.setsid()
    os.environ.update(environment)
    with log.open("a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    if fsize is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fsize, fsize))
    sys.argv = ["anytalk", *words]
    main()


class Chaos:
    """Disturbed builds of one recipe in one folder.

    Args:
        recipe: its path.
        whole: an undisturbed build of it.
        out: folder to build in.
        seed: of everything that is drawn.
        crews: gives the processes of crews on a cluster of Ray; None without one.
        lose_node: has that cluster lose a node and get another one.
    """

    def __init__(
        self,
        recipe: Path,
        whole: Path,
        out: Path,
        seed: int,
        crews: Callable[[], list[Any]] | None = None,
        lose_node: Callable[[], None] | None = None,
    ) -> None:
        self.recipe, self.whole, self.folder, self.draw = recipe, whole, out, random.Random(seed)
        self.out, self.rounds = out / "0", 0
        self.crews, self.lose_node = crews, lose_node
        self.units = len(list((whole / "units").iterdir()))
        self.logs = 0
        out.mkdir()
        (out / "parts").mkdir()
        self.done: Counter[str] = Counter()

    def disturb(self, plan: Counter[str]) -> None:
        """Do what a plan says, in an order that is drawn: so many disturbances of each kind; then let the build end."""
        kinds = [kind for kind, count in sorted(plan.items()) for _ in range(count)]
        self.draw.shuffle(kinds)
        for kind in kinds:
            if self.committed() == self.units:
                self.next_round()
            started = time.monotonic()
            getattr(self, kind)()
            self.done[kind] += 1
            told = f"## {kind}: {time.monotonic() - started:.1f} s, {self.committed()} of {self.units} units\n"
            self.next_log().write_text(told)
        self.next_round()

    def next_round(self) -> None:
        """Finish the build, compare it with the undisturbed one, and begin another in a new folder."""
        process = self.start()
        self.wait(process)
        assert process.exitcode == 0, self.said()[-3000:]
        assert_same(self.out, self.whole)
        assert "Traceback" not in self.said()
        assert "ExceptionGroup" not in self.said()
        assert not any((self.folder / "parts").iterdir()) or self.done["driver"] or self.done["two"]
        self.rounds += 1
        self.out = self.folder / str(self.rounds)

    def driver(self) -> None:
        """Kill a build, in the middle of a unit or while it is planned or closed."""
        process = self.start(remote=self.draw.random() < 0.5)
        self.until(process, self.draw.choice([0, 1, 1, 2, 3]))
        self.kill(process)

    def two(self) -> None:
        """Have two builds in one folder, and kill one of them; the other ends well or can be ended."""
        first, second = self.start(), self.start(remote=True)
        self.until(first, 2)
        self.kill(self.draw.choice([first, second]))
        self.until(first, self.draw.choice([1, 2]))
        for process in (first, second):
            self.kill(process)

    def both(self) -> None:
        """Have two builds in one folder, to the end."""
        processes = [self.start(), self.start(remote=True)]
        for process in processes:
            self.wait(process)
        assert [process.exitcode for process in processes] == [0, 0], self.said()[-3000:]

    def disk(self) -> None:
        """Let the disk take no file as large as a shard: the build stops, and says how to go on."""
        process = self.start(fsize=6000)
        self.wait(process)
        assert process.exitcode == 1, self.said()[-3000:]
        assert "File too large" in self.said()

    def cut(self) -> None:
        """Cut the network to the object store for a while, or for so long that the build gives up."""
        process, fence = self.start(remote=True), Path(f"{self.out}.cut")
        self.until(process, 1)
        fence.touch()
        if self.draw.random() < 0.5:
            time.sleep(1.0)
            fence.unlink()
            self.until(process, 1)
            self.kill(process)
        else:
            self.wait(process)
            fence.unlink()
            assert process.exitcode in (0, 1), self.said()[-3000:]

    def crew(self) -> None:
        """Kill a crew on Ray in the middle of a unit, and let the build go on a little."""
        assert self.crews is not None
        process = self.start(ray=True)
        self.until(process, 1)
        with contextlib.suppress(Exception):
            self.draw.choice(self.crews()).kill()
        self.until(process, 4)
        self.kill(process)

    def raylet(self) -> None:
        """Take a node of the cluster away, and bring another one."""
        assert self.lose_node is not None
        process = self.start(ray=True)
        self.until(process, 1)
        self.lose_node()
        self.until(process, 3)
        self.kill(process)

    def start(self, *, remote: bool = False, ray: bool = False, fsize: int | None = None) -> Any:
        """Start a build: in a process, through the object store, or on Ray."""
        target = f"faulty://{self.out}" if remote else str(self.out)
        words = ["build", str(self.recipe), "--out", target, *([] if ray else ["--local"])]
        environment = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        environment |= {"FAULTY_SEED": str(self.draw.random()), "FAULTY_PARTS": str(self.folder / "parts")}
        process = forks.Process(target=_command, args=(words, self.next_log(), fsize, environment))
        process.start()
        return process

    def next_log(self) -> Path:
        """A file of its own for what a build says: on a full disk, a long one could not be written on."""
        self.logs += 1
        return self.folder / f"log-{self.logs:04d}.txt"

    def said(self) -> str:
        """What all builds said."""
        return "".join(log.read_text() for log in sorted(self.folder.glob("log-*.txt")))

    def until(self, process: Any, more: int) -> None:
        """Wait until so many more units are committed, or the process ends, and then a little."""
        wanted = min(self.units, self.committed() + more)
        deadline = time.monotonic() + DEADLINE_S
        while self.committed() < wanted and process.is_alive():
            assert time.monotonic() < deadline, self.said()[-3000:]
            time.sleep(0.005)
        time.sleep(self.draw.uniform(0.0, 0.3))

    def kill(self, process: Any) -> None:
        """End a process as a power cut does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        self.wait(process)

    def wait(self, process: Any) -> None:
        """Wait for a process to end."""
        process.join(DEADLINE_S)
        assert not process.is_alive(), self.said()[-3000:]

    def committed(self) -> int:
        """How many units have a sidecar."""
        return len(list((self.out / "units").glob("*.json")))


def assert_same(one: Path, other: Path) -> None:
    """See that two datasets hold the same files with the same bytes, but for times."""
    assert _listed(one) == _listed(other)
    differing = [name for name in _listed(one) if _content(one / name) != _content(other / name)]
    assert differing == []


def _listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _content(path: Path) -> object:
    """Bytes of a file; of one that says times, all else. Checksums follow from the other files."""
    if path.name == "SHA256SUMS":
        return [line.split()[1] for line in path.read_text().splitlines()]
    if path.suffix != ".json":
        return path.read_bytes()
    tree = json.loads(path.read_text())
    return {key: value for key, value in tree.items() if key not in TIMES}
