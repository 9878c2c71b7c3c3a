"""The quickstart: from nothing to spoken answers, one command of the project after the other.

    OUT/dataset         questions and answers, spoken, heard, judged and encoded
    OUT/talker          the model that learnt from them
    OUT/answers         what it answers, with a page to listen to
    OUT/summary.json    what it came to

Each command goes on from where it was stopped, and one that is done has nothing left to do; so this may be started
again at any time.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import typer

from anytalk.pipelines.dataset import json_bytes
from anytalk.recipes.evaluate import PAGE
from anytalk.synth.wording import quantity

SUMMARY = "summary.json"
EVALUATION = "answers/evaluation.json"
LARGEST_MEMORY_GIB, LONGEST_S = 8.0, 720.0
TEXT_RIGHT_EXACT, TEXT_RIGHT_RESPOKEN, SPEECH_OVER_CODEC = 0.9, 0.5, 0.15
"""What the quickstart means to reach; the last is how much WER the model's speech may add to the codec's own."""

ASKED = "Hello there, what's your name?"
"""One of the questions that the model learns: it knows no others."""


@dataclass(frozen=True)
class Step:
    """One command of anytalk."""

    name: str
    arguments: tuple[str, ...]
    result: Path | None = None
    """The file that it writes last."""
    source: Path | None = None
    """What the result is made from, of a command that would make it anew each time."""

    @property
    def is_made(self) -> bool:
        """Whether the result is there; what is done then is not its work, but seeing that nothing is left to do."""
        return self.result is not None and self.result.is_file()

    @property
    def is_done(self) -> bool:
        """Whether the command need not run: its result is younger than the source."""
        if not self.is_made or self.result is None or self.source is None:
            return False
        return self.result.stat().st_mtime_ns >= self.source.stat().st_mtime_ns


def steps(out: Path) -> list[Step]:
    """Everything that is run, in order."""
    dataset, talker, answers = str(out / "dataset"), str(out / "talker"), str(out / "answers")
    spoken, trained = out / "answer.wav", out / "talker/summary.json"
    return [
        Step("build", ("build", "quickstart", "--out", dataset), out / "dataset/dataset.json"),
        Step("check", ("check", dataset)),
        Step("train", ("train", "talker", "--data", dataset, "--out", talker), trained),
        Step("answer", ("eval", talker, dataset, "--out", answers), out / EVALUATION, trained),
        Step("talk", ("talk", talker, "--text", ASKED, "--out", str(spoken)), spoken, trained),
    ]


def main() -> None:
    """Run what is missing, and say what it came to."""
    parser = argparse.ArgumentParser(description="Build, check, train and talk, in one folder.")
    parser.add_argument("--out", type=Path, default=Path("out/quickstart"))
    sys.exit(run(parser.parse_args().out))


def run(out: Path) -> int:
    """Run what is missing in a folder; gives the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    seconds, peak_gib = _earlier(out)
    for step in steps(out):
        if step.is_done:
            continue
        typer.echo(f"\n$ anytalk {' '.join(_quoted(word) for word in step.arguments)}")
        was_made = step.is_made
        code, took_s, used_gib = _run(step)
        before_s = seconds.get(step.name, 0.0) if step.result else 0.0
        seconds[step.name] = before_s if was_made else round(before_s + took_s, 1)
        peak_gib = max(peak_gib, used_gib)
        _write(out, {"seconds": seconds, "peak_memory_gib": round(peak_gib, 2)})
        if code:
            typer.echo(
                f"quickstart: stopped at anytalk {step.arguments[0]}; make quickstart goes on from there", err=True
            )
            return 130 if code == 130 else 1
    summary = summarise(out, seconds, peak_gib)
    _write(out, summary)
    typer.echo(closing(out, summary))
    return 0


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _earlier(out: Path) -> tuple[dict[str, float], float]:
    """Of earlier starts: seconds by step, and the most memory."""
    path = out / SUMMARY
    if not path.is_file():
        return {}, 0.0
    earlier = json.loads(path.read_text())
    return earlier["seconds"], earlier["peak_memory_gib"]


def _write(out: Path, summary: dict[str, Any]) -> None:
    (out / SUMMARY).write_bytes(json_bytes(summary))


def _run(step: Step) -> tuple[int, float, float]:
    """Run a command: its exit code, seconds, and the most memory that it and its children took together."""
    started = time.monotonic()
    command = [sys.executable, "-m", "anytalk.recipes", *step.arguments]
    with subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}) as process:
        memory = _Memory(process.pid)
        memory.start()
        try:
            code = process.wait()
        except KeyboardInterrupt:
            code = process.wait()  # Ctrl-C reached the command as well: it says how to go on.
        finally:
            memory.stop()
    return code, time.monotonic() - started, memory.peak_bytes / 2**30


class _Memory(threading.Thread):
    """Watches what a process and its children take: memory of their own, and their part of what they share."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_bytes = pid, 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every second."""
        while not self._ended.wait(1.0):
            self.peak_bytes = max(self.peak_bytes, _family_bytes(self.pid))

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()


def _family_bytes(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
        except psutil.Error:  # it has ended, or is not ours to look at
            continue
    return total


def summarise(out: Path, seconds: dict[str, float], peak_gib: float) -> dict[str, Any]:
    """Gather what the commands measured."""
    dataset = json.loads((out / "dataset/dataset.json").read_text())
    training = json.loads((out / "talker/summary.json").read_text())
    figures = json.loads((out / EVALUATION).read_text())["figures"]
    return {
        **{name: dataset[name] for name in ("rows_accepted", "rows_rejected", "speech_hours")},
        "training_steps": training["step"],
        **figures,
        "seconds": seconds,
        "peak_memory_gib": round(peak_gib, 2),
    }


def goals(summary: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """What was reached, what was meant to be, and whether it is met."""
    spoken = summary["speech_wer_exact"] - summary["codec_ceiling_wer"]
    total_s, peak_gib = sum(summary["seconds"].values()), summary["peak_memory_gib"]
    exact, respoken = summary["text_right_exact"], summary["text_right_respoken"]
    return [
        ("training recordings: text right", f"{exact:.0%} (goal {TEXT_RIGHT_EXACT:.0%})", exact >= TEXT_RIGHT_EXACT),
        (
            "re-synthesised, at unseen speeds: text right",
            f"{respoken:.0%} (goal {TEXT_RIGHT_RESPOKEN:.0%})",
            respoken >= TEXT_RIGHT_RESPOKEN,
        ),
        (
            "training recordings: WER of speech over the codec's",
            f"{100 * spoken:+.1f} points (goal {100 * SPEECH_OVER_CODEC:.0f})",
            spoken <= SPEECH_OVER_CODEC,
        ),
        ("minutes", f"{total_s / 60:.1f} (goal {LONGEST_S / 60:.0f})", total_s <= LONGEST_S),
        ("memory", f"{peak_gib:.1f} GiB (goal {LARGEST_MEMORY_GIB:.0f})", peak_gib <= LARGEST_MEMORY_GIB),
    ]


def closing(out: Path, summary: dict[str, Any]) -> str:
    """The closing table: what there is now, how good it is, and what to try next."""
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary["seconds"].items())
    lines = [
        "",
        f"{quantity(summary['rows_accepted'], 'row')} accepted, {summary['rows_rejected']} rejected, "
        f"{summary['speech_hours']:.2f} h of speech; {quantity(summary['training_steps'], 'training step')}",
        f"{took}",
        *(f"  {'met   ' if met else 'MISSED'} {name:<52} {value}" for name, value, met in goals(summary)),
        "",
        "Listen and look:",
        f"  {out / 'answers' / PAGE}    every question and answer, to listen to in a browser",
        f"  {out / 'answers'}/*.wav          the same as files",
        f"  {out / 'talker/best'}            the model; {out / 'dataset'} the dataset",
        f"  {out / SUMMARY}",
        "",
        "Next:",
        f'  anytalk talk {out / "talker"} {out / "answers/00-exact-question.wav"}      (or --text "{ASKED}")',
        "  anytalk build quickstart --set source=your-pairs.jsonl --out out/mine",
        "  anytalk train mini-omni --data out/mine --out out/mini-omni      (the full-size recipe, on a GPU)",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
