"""The household: ask a model requests that it never heard, in a voice and at speeds that it never heard.

    OUT/dataset         requests and answers of a grammar; the test split has combinations and a voice of its own
    OUT/readings        sentences of the same words that are read aloud, to learn to speak
    OUT/talker          the model that learnt from the training split
    OUT/answers         what it answers to the test split, with a page to listen to
    OUT/summary.json    how often that is right, by kind, and which goals were missed

Each command goes on from where it was stopped, and one that is done has nothing left to do.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from anytalk.recipes.train import can_compile_for_cpu, load_training_recipe

from .steps import EVALUATION, Goal, Spent, Step, made, report, run_all

TEXT_RIGHT = {"reminders": 0.95, "switches": 0.95, "timers": 0.95, "sums": 0.6}
SPEECH_OVER_CODEC = {"reminders": 0.08, "switches": 0.08, "timers": 0.08}
"""What is to be reached for each kind: text answers that are right, and WER of the speech above the codec's own."""
LONGEST_MINUTES = 75.0

ALL = "100000"
"""More questions than there are."""


def steps(out: Path) -> list[Step]:
    """Everything that is run, in order."""
    dataset, readings, talker, answers = (str(out / name) for name in ("dataset", "readings", "talker", "answers"))
    trained = out / "talker/summary.json"
    asked = ("--split", "test", "--exact", ALL, "--respoken", "0", "--out", answers)
    shipped = load_training_recipe("household").data.datasets
    data = [one.model_dump(mode="json") | {"dataset": str(out / Path(one.dataset).name)} for one in shipped]
    changed = ["--set", f"data.datasets={json.dumps(data)}"]
    if can_compile_for_cpu():  # A seventh of the time.
        changed += ["--set", "optim.compile=true"]
    return [
        Step("build", ("build", "household", "--out", dataset), out / "dataset/dataset.json"),
        Step("read aloud", ("build", "household-readings", "--out", readings), out / "readings/dataset.json"),
        Step("check", ("check", dataset)),
        Step("train", ("train", "household", *changed, "--out", talker), trained),
        Step("answer", ("eval", talker, dataset, *asked), out / EVALUATION, trained),
    ]


def main() -> None:
    """Run what is missing, and say what it came to."""
    parser = argparse.ArgumentParser(description="Build, check, train and ask what was never heard, in one folder.")
    parser.add_argument("--out", type=Path, default=Path("out/household"))
    sys.exit(run(parser.parse_args().out))


def run(out: Path) -> int:
    """Run what is missing in a folder; gives the exit code."""
    return run_all(steps(out), out, "household", summarise, closing)


def summarise(out: Path, spent: Spent) -> dict[str, Any]:
    """Gather what the commands measured."""
    evaluation = json.loads((out / EVALUATION).read_text())
    summary = made(out, spent) | {
        "unheard": by_kind(evaluation["answers"]),
        "codec_ceiling_wer": evaluation["figures"]["codec_ceiling_wer"],
        "questions_failed": evaluation["figures"]["questions_failed"],
    }
    return summary | {"goals_missed": [f"{name} {value}" for name, value, met in goals(summary) if not met]}


def by_kind(answers: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Means over the answers of each kind, as shares between 0 and 1; a speech that says nothing is all wrong."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for answer in answers:
        kinds.setdefault(answer["split_name"], []).append(answer)
    return {
        kind: {
            "questions": len(asked),
            "text_right": round(fmean(each["text_right"] for each in asked), 4),
            "speech_wer": round(fmean(1.0 if each["speech_wer"] is None else each["speech_wer"] for each in asked), 4),
            "codec_ceiling_wer": round(fmean(each["codec_wer"] for each in asked), 4),
        }
        for kind, asked in sorted(kinds.items())
    }


def goals(summary: dict[str, Any]) -> list[Goal]:
    """What was reached, what was meant to be, and whether it is met; a kind of which nothing was asked misses."""
    found: list[Goal] = []
    for kind, least in TEXT_RIGHT.items():
        right = summary["unheard"].get(kind, {}).get("text_right", 0.0)
        found.append((f"unheard {kind}: text right", f"{right:.0%} (goal {least:.0%})", right >= least))
    for kind, most in SPEECH_OVER_CODEC.items():
        asked = summary["unheard"].get(kind, {"speech_wer": 1.0, "codec_ceiling_wer": 0.0})
        over = asked["speech_wer"] - asked["codec_ceiling_wer"]
        value = f"{100 * over:+.1f} points (goal {100 * most:.0f})"
        found.append((f"unheard {kind}: WER of speech over the codec's", value, over <= most))
    minutes = sum(summary["seconds"].values()) / 60
    found.append(("minutes", f"{minutes:.1f} (goal {LONGEST_MINUTES:.0f})", minutes <= LONGEST_MINUTES))
    return found


def closing(out: Path, summary: dict[str, Any]) -> str:
    """The closing table: what there is now, how good it is, and what to try next."""
    lines = [
        *report(out, summary, goals(summary)),
        "",
        "Next:",
        f'  anytalk talk {out / "talker"} --text "Remind me to feed the cat after lunch."',
        "  anytalk build household --set source.path=your-grammar.yaml --out out/mine      (your own requests)",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
