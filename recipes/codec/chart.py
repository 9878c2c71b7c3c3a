"""Line charts as SVG text: enough for a loss curve, with nothing to install."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94", "#8a6d3b", "#444444")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 64, 150, 40, 48


def line_chart(title: str, x_label: str, y_label: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw curves over a common x axis; the y axis is logarithmic where all values allow it.

    Args:
        title: above the chart.
        x_label: below it.
        y_label: beside it.
        curves: points by name; long curves are averaged to some hundred points.
    """
    drawn = {name: _thinned(points) for name, points in curves.items() if points}
    points = np.concatenate(list(drawn.values()))
    logarithmic = bool((points[:, 1] > 0).all())
    y_of = np.log10 if logarithmic else np.asarray
    (x_low, x_high), (y_low, y_high) = _range(points[:, 0]), _range(y_of(points[:, 1]))

    def place(xy: np.ndarray) -> np.ndarray:
        x = LEFT + (xy[:, 0] - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        y = TOP + (y_high - y_of(xy[:, 1])) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return np.stack([x, y], axis=1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="{(WIDTH - RIGHT + LEFT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>',
    ]
    for fraction in np.linspace(0, 1, 5):
        x_value, y_value = x_low + fraction * (x_high - x_low), y_low + fraction * (y_high - y_low)
        y_shown = 10**y_value if logarithmic else y_value
        x, y = place(np.array([[x_value, y_shown]]))[0]
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{y_shown:.3g}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x_value:.4g}</text>',
        ]
    for colour, (name, xy) in zip(COLOURS, drawn.items(), strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in place(xy))
        last_x, last_y = place(xy[-1:])[0]
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
            f'<text x="{last_x + 6:.1f}" y="{last_y + 4:.1f}" fill="{colour}">{escape(name)} {xy[-1, 1]:.3g}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _thinned(points: Sequence[tuple[float, float]], most: int = 300) -> np.ndarray:
    """Means of neighbouring points, (N, 2)."""
    return np.array([group.mean(axis=0) for group in np.array_split(np.asarray(points, float), min(most, len(points)))])


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
