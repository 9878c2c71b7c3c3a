"""Charts as inline SVG, coloured by the page's style: light or dark."""

from collections.abc import Mapping
from html import escape

from .figures import BINS, Histogram

WIDTH, HEIGHT, BASE = 320, 120, 96
"""Of a chart; bars stand on the base, and what it spans is written below."""


def histogram(counts: Histogram, bounds: Mapping[str, float], label: str) -> str:
    """Draw a histogram: what passed below, what failed above it, and a dashed line for each threshold.

    Heights are square roots of counts, so that a few bad values show beside thousands of good ones.

    Args:
        counts: to draw.
        bounds: thresholds by name.
        label: what it shows, for those who do not see it.
    """
    most = max(1.0, float((counts.passed + counts.failed).max()) ** 0.5)
    step, width = WIDTH / BINS, (counts.high - counts.low) / BINS
    parts = []
    for place in range(BINS):
        passed, failed = int(counts.passed[place]), int(counts.failed[place])
        if not passed + failed:
            continue
        whole = (passed + failed) ** 0.5 / most * (BASE - 6)
        lower = whole * passed / (passed + failed)
        low = counts.low + place * width
        span = f"{low:.4g} to {low + width:.4g}: {passed:,} passed, {failed:,} failed"
        x = f'x="{place * step + 0.5:.1f}" width="{step - 1:.1f}"'
        parts.append(
            f"<g><title>{span}</title>"
            f'<rect class="good" {x} y="{BASE - lower:.1f}" height="{lower:.1f}"/>'
            f'<rect class="bad" {x} y="{BASE - whole:.1f}" height="{whole - lower:.1f}"/></g>'
        )
    for name, bound in bounds.items():
        x_bound = (bound - counts.low) / (counts.high - counts.low) * WIDTH
        anchor = "end" if x_bound > WIDTH / 2 else "start"
        parts.append(
            f'<g class="bound"><title>{escape(name)} {bound:g}</title>'
            f'<line x1="{x_bound:.1f}" x2="{x_bound:.1f}" y1="0" y2="{BASE}"/>'
            f'<text x="{x_bound + (-4 if anchor == "end" else 4):.1f}" y="11" text-anchor="{anchor}">'
            f"{escape(name.partition('_')[0])} {bound:g}</text></g>"
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}'
        f'<line class="base" x1="0" x2="{WIDTH}" y1="{BASE}" y2="{BASE}"/>'
        f'<text x="0" y="{HEIGHT - 8}">{counts.low:g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 8}" text-anchor="end">{counts.high:g}</text></svg>'
    )


def bar(share: float, label: str) -> str:
    """Draw a share of one as a bar."""
    filled = max(0.0, min(1.0, share)) * 100
    return (
        f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'<rect class="rest" width="100" height="8"/><rect class="good" width="{filled:.1f}" height="8"/></svg>'
    )
