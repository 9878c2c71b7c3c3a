"""Benchmarks: each gives its figure, the naive way's from the same run, and the bound.

A benchmark is one file here and one line in `BENCHMARKS`. The file holds

    EPILOG          an example of its command line
    bench(...)      measures, and gives what `figures.compared` and `figures.figures` make; its positional parameters
                    are the command's arguments and options, `progress` and what else is keyword-only are not
    text(figures)   the figures as lines for a person
"""

BENCHMARKS: dict[str, str] = {
    "build": "Measure a build in seconds of speech a second, beside the plain script that does one row at a time.",
    "codec": "Measure a codec in seconds of speech a second, beside the plain loop over its network.",
    "dedup": "Measure near-duplicate removal in conversations a second, beside a plain script, and how much it finds.",
    "hear": "Measure hearing in seconds of speech a second with features.context short, beside full, and its cost.",
    "load": "Measure the loader in positions a second, beside the datasets library and what training eats.",
    "scale": "Measure units a second by number of crews on Ray, with engines that wait, and what the driver costs.",
    "serve": "Measure a server in milliseconds to first sound, for 1 to 16 clients, beside one request after another.",
    "size": "Measure what size costs: planning, going on, checking and judging, with engines that are free.",
    "train": "Measure training in positions a second that are no padding, beside a plain padded loop with all logits.",
    "talk": "Measure decoding in milliseconds a step, beside a plain float32 loop, and how far int8 says the same.",
}
"""Module of this room -> what `anytalk bench` says about it."""

__all__ = ["BENCHMARKS"]
