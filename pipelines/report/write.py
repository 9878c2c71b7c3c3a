"""The report of a dataset: one HTML file to look at and listen to, which needs nothing else.

It follows from the dataset alone, so that the same dataset gives the same page.
"""

import dataclasses
import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pyarrow as pa

from anytalk.pipelines.close import REPORT
from anytalk.pipelines.dataset import MANIFEST, PLAN, Store, commit, current_judgement, tally
from anytalk.pipelines.likeness import Document, conversations_of, near_duplicates, spooled
from anytalk.pipelines.plan import Plan, load_committed
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.speech import STAGES, costs
from anytalk.synth.errors import SetupError

from . import sections
from .choose import SHARES, Chooser, Chosen
from .clips import Clip, clips_of
from .figures import Figures
from .frame import page, rows_script
from .row_html import SORTED_BY, row_html
from .rows import ACCEPTED, REJECTED, flat_tables
from .sound import codec_of

ROWS = 100
SOUND_BYTES = 17_000_000
"""Of all sounds of a page, as they stand in it; with texts and charts a page stays below 20 MB."""

GATHERED_ROWS = 2048
"""Rows that are counted at once."""

MOST_COMPARED = 50_000
"""Conversations that are compared for near-duplicates: some seconds."""
SIMILAR, SHINGLE_WORDS, SHOWN_DUPLICATES, SHOWN_CHARACTERS = 0.7, 2, 15, 200


@dataclasses.dataclass(frozen=True)
class Reported:
    """What a report came to."""

    dataset: str
    page: str
    bytes: int
    rows: int
    """Of the dataset, accepted and rejected."""
    rows_shown: int
    rows_with_sound: int


def report(dataset: str, out: str | None = None, *, rows: int = ROWS, progress: Reporter | None = None) -> Reported:
    """Write the report of a dataset.

    Args:
        dataset: folder or URL of a dataset; it need not be finished.
        out: file to write; `report.html` in the dataset by default.
        rows: most rows that are shown with sound.
        progress: who is told how far it is.

    Raises:
        SetupError: there is no dataset, or a file of it cannot be read.
    """
    store, progress = Store(dataset), progress or Quiet()
    if not store.exists(PLAN):
        raise SetupError(f"{store} holds no anytalk dataset")
    try:
        content, counts = _page(store, rows, progress)
    finally:
        progress.stop()
    if out is None:
        store.write(REPORT, content)
        path = f"{store}/{REPORT}"
    else:
        folder, _, name = str(out).rpartition("/")
        Store(folder or ".").write(name, content)
        path = str(out)
    return Reported(dataset=str(store), page=path, bytes=len(content), **counts)


def _page(store: Store, count: int, progress: Reporter) -> tuple[bytes, dict[str, int]]:
    recipe = current_judgement(store).recipe
    plan, sidecars = load_committed(store), list(commit.sidecars(store).values())
    figures, chooser = Figures(recipe.check), Chooser(recipe.check, count, recipe.seed)
    progress.start("rows read", sum(one["accepted"] + one["rejected"] for one in sidecars) + plan.rejected)
    for table, attempts in _gathered(flat_tables(store)):
        figures.add(table, attempts)
        chooser.add(table)
        progress.advance(table.num_rows)
    progress.stop()
    chosen = chooser.chosen()
    clips, note = _clips(store, chosen, recipe, progress)
    shown = [row_html(one, clips.get(one.row["id"], ()), recipe, _why_silent(one)) for one in chosen]
    progress.phase("comparing texts and drawing the page")
    body = [
        *_summary(store, recipe, plan, sidecars, figures),
        sections.measures(figures, recipe.check),
        sections.voices(figures),
        sections.groups(figures),
        sections.lengths(figures),
        _duplicates(store),
        sections.cost(*_costs(recipe, plan, sidecars)),
        _listening(chosen, shown, note),
    ]
    content = page(f"Dataset {recipe.name}", "\n".join(body), script=rows_script()).encode()
    counts = {"rows": figures.outcomes.total(), "rows_shown": len(chosen), "rows_with_sound": len(clips)}
    return content, counts


def _gathered(units: Iterator[tuple[pa.Table, pa.Table]]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Tables of some thousand rows instead of some dozens: counting takes as long for either."""
    waiting: list[tuple[pa.Table, pa.Table]] = []
    for unit in units:
        waiting.append(unit)
        if sum(rows.num_rows for rows, _ in waiting) >= GATHERED_ROWS:
            yield pa.concat_tables([rows for rows, _ in waiting]), pa.concat_tables([made for _, made in waiting])
            waiting.clear()
    if waiting:
        yield pa.concat_tables([rows for rows, _ in waiting]), pa.concat_tables([made for _, made in waiting])


def _summary(
    store: Store, recipe: Recipe, plan: Plan, sidecars: Sequence[Mapping[str, Any]], figures: Figures
) -> Iterator[str]:
    """What comes first: figures, what is missing, where to go, and the yield."""
    accepted, rejected = figures.outcomes[ACCEPTED], figures.outcomes[REJECTED]
    missing = plan.rows + plan.rejected - accepted - rejected
    speech_s = sum(one["speech_s"] for one in sidecars)
    yield sections.cards(
        [
            ("rows accepted", f"{accepted:,}"),
            ("rows rejected", f"{rejected:,}"),
            *([("rows not made yet", f"{missing:,}")] if missing else []),
            ("of all rows accepted", f"{accepted / (accepted + rejected):.1%}" if accepted + rejected else "-"),
            ("hours of speech", f"{speech_s / 3600:.3f}"),
            ("languages", str(len(figures.languages))),
            ("voices", str(len({name for _, name in figures.voices}))),
        ]
    )
    if not store.exists(MANIFEST):
        yield '<p class="wrong">The dataset is unfinished: figures are of what is there.</p>'
    links = {"listen": "rows"} | {name: name for name in ("yield", "measures", "voices", "duplicates", "cost")}
    listed = (f'<a href="#{key}">{name}</a>' for key, name in links.items())
    yield f"<nav>{' · '.join(listed)}</nav>"
    reasons = tally.added([plan.reasons, *(one["reasons"] for one in sidecars)])
    yield sections.yields(tally.total([one["gates"] for one in sidecars]), tally.commonest_first(reasons))


def _costs(
    recipe: Recipe, plan: Plan, sidecars: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, float], float, list[dict[str, Any]]]:
    seconds = {stage: sum(one["seconds"][stage] for one in sidecars) for stage in STAGES}
    asked = [*plan.costs, *costs(recipe, sidecars)]
    return seconds, sum(one["speech_s"] for one in sidecars), asked


def _clips(
    store: Store, chosen: Sequence[Chosen], recipe: Recipe, progress: Reporter
) -> tuple[dict[str, list[Clip]], str]:
    """Sounds of as many rows as the page holds, the groups taking turns; and what is to be said of it."""
    codec = codec_of(recipe)
    notes = [f"The answer through the codec is left out: {codec}."] if isinstance(codec, str) else []
    groups = [[one.row for one in chosen if one.groups[0] == group] for group in SHARES]
    turns = [row for turn in itertools.zip_longest(*groups) for row in turn if row is not None]
    spoken = [row for row in turns if row["unit"] is not None]
    room, kept = SOUND_BYTES, dict[str, list[Clip]]()
    progress.start("rows' sounds compressed", len(spoken))
    # Some rows at a time, so that no more is read and compressed than there is room for.
    for start in range(0, len(spoken), 16):
        order = [row["id"] for row in spoken[start : start + 16]]
        found = dict(clips_of(store, spoken[start : start + 16], None if isinstance(codec, str) else codec))
        for name in order:
            own = found.get(name, [])
            size = sum(len(clip.mp3) * 4 // 3 + 4 for clip in own)
            if own and size <= room:
                room, kept[name] = room - size, own
        progress.advance(len(order))
        if room < SOUND_BYTES // 100:
            break
    progress.stop()
    if left := len(spoken) - len(kept):
        notes.append(f"{left:,} rows have no sound here, as none is stored or the page would be too large.")
    return kept, " ".join(notes)


def _why_silent(one: Chosen) -> str:
    if one.row["unit"] is None:
        return "The plan rejected it: it was never spoken."
    return f"No sound here; anytalk show DATASET {one.row['id'][:12]} --save DIR writes what is stored."


def _duplicates(store: Store) -> str:
    conversations = conversations_of(store, ["question", "answer"])
    compared = itertools.islice(conversations, MOST_COMPARED)
    with spooled(compared) as spool:
        worst: list[tuple[float, int, int]] = []
        count = 0
        for found in near_duplicates(spool, SIMILAR, SHINGLE_WORDS):
            count += 1
            one = (found.similarity, -found.place, -found.like)
            (heapq.heappush if len(worst) < SHOWN_DUPLICATES else heapq.heappushpop)(worst, one)
        shown = [
            (similarity, *_named(spool[-place]), *_named(spool[-like]))
            for similarity, place, like in sorted(worst, reverse=True)
        ]
        # What was not compared is counted.
        return sections.near_duplicates(shown, count, len(spool), sum(1 for _ in conversations))


def _named(document: Document) -> tuple[str, str]:
    text = " / ".join(document.texts)
    place = document.name.partition(":")[2]
    return place, text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."


def _listening(chosen: Sequence[Chosen], shown: Sequence[str], note: str) -> str:
    """The rows, and what sorts and searches them."""
    if not shown:
        return "<h2 id=listen>Rows</h2><p>There are no rows.</p>"
    groups = [group for group in SHARES if any(group in one.groups for one in chosen)]
    reasons = sorted({one.row["reason"] for one in chosen if one.row["reason"]})
    measured = [name for name in SORTED_BY if any(one.row[name] is not None for one in chosen)]

    def options(first: str, names: Sequence[str]) -> str:
        listed = [f'<option value="">{first}</option>']
        return "".join([*listed, *(f'<option value="{escape(name)}">{escape(name)}</option>' for name in names)])

    return (
        "<h2 id=listen>Rows</h2>"
        f'<p class="soft">The worst rows, those nearest to a threshold, rejected ones, the best, and a sample of all. '
        f"Words of the text that were not heard are <del>struck out</del>, words that were heard instead "
        f"<ins>underlined</ins>. {escape(note)}</p>"
        '<div class="controls"><input type="search" id="find" placeholder="search texts, voices, ids" '
        'aria-label="search rows">'
        f'<select id="group" aria-label="group">{options("all groups", groups)}</select>'
        f'<select id="reason" aria-label="reason">{options("any reason", reasons)}</select>'
        f'<select id="sort" aria-label="sort by">{options("sort by", measured)}</select>'
        '<select id="order" aria-label="order"><option value="down">high first</option>'
        '<option value="up">low first</option></select><small id="count"></small></div>'
        + "\n".join(['<div id="rows">', *shown, "</div>"])
    )
