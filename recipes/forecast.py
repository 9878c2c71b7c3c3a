"""What `anytalk plan` tells a person: an estimate as text."""

from typing import Any

from anytalk.synth.wording import quantity

STAGES = {"voices": "TTS", "hearing": "ASR", "judging": "scoring"}
"""What the stages of a build are called."""


def forecast_text(found: Any) -> str:
    """An estimate in lines; see `pipelines.Estimate`."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in found.reasons.items()) or "none"
    splits = ", ".join(f"{split} {count:,}" for split, count in found.splits.items())
    seconds = ", ".join(f"{STAGES.get(stage, stage)} {value:,.0f} s" for stage, value in found.seconds.items())
    state = (
        "planned; anytalk build goes on from here" if found.planned else "not planned: texts are still to be paid for"
    )
    pools = " ".join(f"--set resources.{name}={count}" for name, count in found.resources.items())
    measured = f"{quantity(found.calibration['rows'], 'row')} in {found.calibration['wall_s']:.0f} s"
    if found.calibration["others"] > 0.1:
        measured += f"; other programs took {found.calibration['others']:.0%} of the cores, which times leave out"
    gpu = f", {found.gpu_hours:.2f} GPU-hours" if found.gpu_hours else ""
    lines = [
        f"{found.dataset}: {state}",
        f"  rows         {found.rows:,} ({splits}), about {found.rows_accepted:,} accepted",
        f"  rejected     {found.rows_rejected:,} before they are spoken: {reasons}",
        f"  speech       {found.speech_hours:.2f} h",
        f"  time         {found.core_hours:.2f} core-hours{gpu}; {_duration(found.wall_hours)} on this machine",
        *([_cluster(found.cluster)] if found.cluster else []),
        f"  disk         {found.disk_gib:.2f} GiB",
        *_tokens(found),
        f"  cost         {_cost(found)}",
        f"  stage time   {seconds}",
        f"  bottleneck   {STAGES.get(found.bottleneck, found.bottleneck)}; pools for this machine: {pools}",
        f"  measured on  {measured}",
        "  rows as they will be said:",
        *(f"    {line}" for example in found.examples for line in _example(example)),
    ]
    return "\n".join(lines)


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 2 else f"{60 * hours:.1f} minutes"


def _cluster(cluster: dict[str, float]) -> str:
    crews = f"{quantity(int(cluster['crews']), 'crew')} of {cluster['cores']:.0f} cores"
    return f"  cluster      {_duration(cluster['wall_hours'])} with {crews} in all"


def _tokens(found: Any) -> list[str]:
    lines = []
    if any(found.tokens.values()):
        sent, back = found.tokens["prompt_tokens"], found.tokens["completion_tokens"]
        lines.append(f"  tokens       {sent:,} sent, {back:,} got back")
    if found.characters:
        lines.append(f"  characters   {found.characters:,} to speech servers")
    return lines


def _cost(found: Any) -> str:
    without = "; ".join(found.without_price)
    if found.cost is None:
        return f"unknown; prices are given with {without}" if without else "nothing has a price"
    return f"{found.cost:,.2f}" + (f", without {without}" if without else "")


def _example(example: dict[str, Any]) -> list[str]:
    lines = [f"{example['split']} {example['id']}"]
    for side in ("question", "answer"):
        if example[f"{side}_voice"]:
            lines.append(f"  {example[f'{side}_voice'].partition(' ')[0]}: {example[side] or '(still to be heard)'}")
    return lines
