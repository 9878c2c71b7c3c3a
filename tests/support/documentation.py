"""What the documentation asks a reader to type: fenced blocks and commands, with the line that they stand on."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("sh", "bash", "shell", "console")
TYPED = re.compile(r"\$ |anytalk\b|make\b|pip\b|python\b|source\b|git\b|cd\b|export\b|[A-Z_]+=\S")
"""How a line of a block without a language begins if it is to be typed."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    where: str
    """Page and line."""
    language: str
    text: str

    @property
    def is_shell(self) -> bool:
        """Whether a reader is to type it, or what it shows begins with what was typed."""
        bare = self.language == "" and any(TYPED.match(line) for line in self.text.splitlines())
        return self.language in SHELL or bare


@dataclass(frozen=True)
class Command:
    """One program with its arguments."""

    where: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    name, text = page.relative_to(ROOT), page.read_text()
    return [
        Block(f"{name}:{text.count(chr(10), 0, found.start()) + 1}", found["language"], found["text"])
        for found in re.finditer(r"^ *```(?P<language>[^\n`]*)\n(?P<text>.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    ]


def typed(block: Block) -> Iterator[Command]:
    """Every program of a block of shell lines, those behind a pipe too; output below a `$` line is none."""
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    for line in lines:
        if not prompted or line.startswith("$ "):
            yield from _programs(block.where, line.removeprefix("$ "))


def spans(page: Path) -> Iterator[Command]:
    """Commands of anytalk in the running text, between backticks."""
    name, text = page.relative_to(ROOT), page.read_text()
    outside = re.sub(r"^ *```.*?^ *```", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    for found in re.finditer(r"`(anytalk [^`]+)`", outside):
        yield from _programs(f"{name}:{outside.count(chr(10), 0, found.start()) + 1}", found[1])


def _programs(where: str, line: str) -> Iterator[Command]:
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words: list[str] = []
    redirected = False
    for word in reader:
        if word[0] in "<>":
            redirected = True
        elif redirected:
            redirected = False  # the file that is written or read
        elif all(letter in "|&;()" for letter in word):
            yield from _program(where, words)
            words = []
        else:
            words.append(word)
    yield from _program(where, words)


def _program(where: str, words: list[str]) -> Iterator[Command]:
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words:
        yield Command(where, tuple(words))
