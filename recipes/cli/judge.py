"""`anytalk judge`: another policy over what a dataset measured, without speaking it again."""

import dataclasses
from typing import Annotated, Any

import typer

from anytalk.synth.wording import quantity

from .console import Json, Mixed, Set, emit, interrupted, overrides

app = typer.Typer()

EPILOG = (
    "Examples:  anytalk judge out/quickstart/dataset --set check.max_wer=0.1 --dry-run  |  "
    "anytalk judge out/quickstart/dataset --set check.question.max_wer=0.3 --set check.attempts=6 --reroll"
)
SHOWN = 20


@app.command(epilog=EPILOG)
def judge(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL that anytalk build wrote.")],
    settings: Set = None,
    reroll: Annotated[bool, typer.Option("--reroll", help="Speak the rows that fail again, up to the budget.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change no files; report what would change.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Speak in this process instead of on Ray.")] = False,
    mixed: Mixed = False,
    as_json: Json = False,
) -> None:
    """Apply other thresholds to a dataset's stored measures, and list the rows that need another attempt.

    check.max_wer sets the threshold of both sides, check.question.max_wer that of one. Without --reroll nothing is
    spoken: rows that fail move to the rejects, and rejects with an attempt that passes become accepted.
    """
    from anytalk import pipelines
    from anytalk.pipelines.progress import reporter

    try:
        found = pipelines.rejudge(
            dataset,
            overrides(settings),
            reroll=reroll,
            dry_run=dry_run,
            local=local,
            mixed=mixed,
            progress=reporter(),
        )
    except KeyboardInterrupt:
        interrupted(f"what is judged is kept in {dataset}; the same command goes on from there")
    emit(dataclasses.asdict(found) | {"complete": found.complete}, as_json, _text(found))
    raise typer.Exit(0 if found.complete else 1)


def _text(found: Any) -> str:
    from anytalk.pipelines.dataset import tally

    reasons = ", ".join(f"{reason} {rows}" for reason, rows in found.reasons.items()) or "none"
    thresholds = ", ".join(f"{key}={value}" for key, value in found.changed.items()) or "as before"
    state = "judged" if found.applied else "dry run, no files changed"
    judged = quantity(found.rows_judged, "row")
    lines = [
        f"{found.dataset}: {state}; thresholds: {thresholds}" + ("" if found.complete else "; NOT complete"),
        f"  accepted   {found.rows_accepted} of {judged}, {found.came_back} newly accepted",
        f"  rejected   {found.rows_rejected} of {judged}, {found.went_out} newly rejected; reasons: {reasons}",
        *(f"  {line}" for line in tally.text(found.gates)),
    ]
    if found.open:
        lines.append(f"  {quantity(len(found.open), 'row')} may pass with another attempt; --reroll speaks them again:")
        lines += [f"    {_need(need)}" for need in found.open[:SHOWN]]
        lines += [f"    and {len(found.open) - SHOWN} more; --json lists them all"] if len(found.open) > SHOWN else []
    if found.deferred:
        lines.append(f"  deferred   {quantity(found.rows_deferred, 'row')}; the same command tries them again")
        lines += [f"  deferred because: {reason}" for reason in found.deferred]
    return "\n".join(lines)


def _need(need: dict[str, Any]) -> str:
    value = "" if need["measure"] is None else f"  {need['measure']} {need['value']:g}, threshold {need['bound']:g}"
    return f"{need['id']}  {need['side']:<8}  {quantity(need['attempts'], 'attempt')}  {need['reason']}{value}"
