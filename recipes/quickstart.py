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
import sys
from pathlib import Path
from typing import Any

from .steps import EVALUATION, Goal, Spent, Step, made, report, run_all

LARGEST_MEMORY_GIB, LONGEST_S = 8.0, 720.0
TEXT_RIGHT_EXACT, TEXT_RIGHT_RESPOKEN, SPEECH_OVER_CODEC = 0.9, 0.5, 0.15
"""What the quickstart means to reach; the last is how much WER the model's speech may add to the codec's own."""

ASKED = "Hello there, what's your name?"
"""One of the questions that the model learns: it knows no others."""


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
    return run_all(steps(out), out, "quickstart", summarise, closing)


def summarise(out: Path, spent: Spent) -> dict[str, Any]:
    """Gather what the commands measured."""
    return made(out, spent) | json.loads((out / EVALUATION).read_text())["figures"]


def goals(summary: dict[str, Any]) -> list[Goal]:
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
    lines = [
        *report(out, summary, goals(summary)),
        "",
        "Next:",
        f'  anytalk talk {out / "talker"} {out / "answers/00-exact-question.wav"}      (or --text "{ASKED}")',
        "  anytalk build quickstart --set source=your-pairs.jsonl --out out/mine",
        "  anytalk train mini-omni --data out/mine --out out/mini-omni      (the full-size recipe, on a GPU)",
        "  make household      (a model that is asked what it never heard)",
        "",
        "Talk with it in a browser:",
        f"  anytalk serve {out / 'talker'} --open",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
