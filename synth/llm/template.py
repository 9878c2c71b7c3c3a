"""Prompts, in files: a few lines of settings, then what the model is told.

A template is Markdown with a front matter, and two parts under the headings `# system` and `# user`. `$name` is filled
in (`$$` is a dollar); nothing in a template is run. What all of them say about spoken style is in `rules.md`, `$rules`.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from anytalk.synth.errors import SetupError
from anytalk.synth.seed import digest

FIELDS = frozenset(
    {"assistant", "language", "length", "persona", "rules", "seconds", "spark", "style", "topic", "turns"}
)
"""What a template of a kind of pairs may name. `length` is the answer's, in words or characters; `spark` is a word."""

REWRITE_FIELDS = frozenset({"language", "length", "rules", "seconds", "turns", "written"})
"""What the template of `rewrite` may name. `written` is the conversation as JSON."""

REWORD_FIELDS = frozenset({"heard", "language", "side", "text"})
"""What the template of `reword` may name. `text` and `heard`, what was understood of it, are JSON strings."""

JUDGE_FIELDS = frozenset({"answer", "question", "references"})
"""What the templates that judge answers may name, each as JSON."""

_PARTS = re.compile(r"\A---\n(.*?)\n---\n+# system\n+(.+?)\n+# user\n+(.+?)\s*\Z", re.DOTALL)
_RULES = re.compile(r"\A---\n(.*?)\n---\n+(.+?)\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Template:
    """A prompt with open places.

    Attributes:
        kind: its file's name.
        version: its own, raised with every change.
        many_turns: whether it asks for a conversation rather than one question.
        system: text of the system message.
        user: text of the user's message.
        sha256: of all that was read for it, the rules included.
    """

    kind: str
    version: int
    many_turns: bool
    system: str
    user: str
    sha256: str

    @property
    def name(self) -> str:
        """Kind, version and the beginning of the hash, for provenance."""
        return f"{self.kind}@{self.version}:{self.sha256[:12]}"

    @property
    def fixed(self) -> str:
        """All that it tells whatever is filled in; a blank line stands for each open place."""
        return re.sub(r"\$(?:\$|\w+|\{\w+\})", "\n\n", f"{self.system}\n\n{self.user}")

    def fill(self, values: Mapping[str, object]) -> list[dict[str, str]]:
        """Write the messages.

        Args:
            values: one for each field; `rules` is filled in by the template itself.
        """
        return [
            {"role": role, "content": string.Template(text).substitute(values)}
            for role, text in (("system", self.system), ("user", self.user))
        ]


def bundled_kinds() -> list[str]:
    """Kinds of pairs that have a template in the package."""
    names = (path.name for path in _bundled().iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md") and name not in _OTHERS)


_OTHERS = ("rules.md", "rewrite.md", "reword.md", "judge_reference.md", "judge_open.md")


def load_template(kind: str, folder: str | Path | None = None, fields: frozenset[str] = FIELDS) -> Template:
    """Read a template.

    Args:
        kind: name of the file, without `.md`.
        folder: looked into first, for templates and for `rules.md`; then the package is.
        fields: what it may name.

    Raises:
        SetupError: there is none of this name, or it is malformed.
    """
    path, rules_path = _find(kind, folder), _find("rules", folder)
    text, rules_text = path.read_text(encoding="utf-8"), rules_path.read_text(encoding="utf-8")
    parts, rules = _PARTS.match(text), _RULES.match(rules_text)
    if not parts:
        raise SetupError(f"template {path}: it must hold ---, settings, ---, then # system and # user with text")
    if not rules:
        raise SetupError(f"template {rules_path}: it must hold ---, settings, ---, then text")
    version, many_turns = _settings(path, parts[1])
    system, user = (part.replace("${rules}", "$rules").replace("$rules", rules[2]) for part in (parts[2], parts[3]))
    for part in (system, user):
        template = string.Template(part)
        unknown = set(template.get_identifiers()) - fields
        if unknown or not template.is_valid():
            wrong = f"${min(unknown)} is not known" if unknown else "a lone $ (write $$ for a dollar)"
            raise SetupError(f"template {path}: {wrong}; known: {', '.join(f'${name}' for name in sorted(fields))}")
    return Template(kind, version, many_turns, system, user, digest(text, rules_text))


def _settings(path: Traversable, text: str) -> tuple[int, bool]:
    """Version of a template, and whether it asks for many turns."""
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SetupError(f"template {path}: its settings are not YAML: {' '.join(str(error).split())}") from error
    if (
        not isinstance(settings, dict)
        or not isinstance(settings.get("version"), int)
        or settings.get("turns", "one") not in ("one", "many")
        or settings.keys() - {"version", "turns"}
    ):
        raise SetupError(f"template {path}: its settings must be `version`, a number, and perhaps `turns`, one or many")
    return settings["version"], settings.get("turns") == "many"


def _find(kind: str, folder: str | Path | None) -> Traversable:
    own = Path(folder) / f"{kind}.md" if folder is not None else None
    bundled = _bundled() / f"{kind}.md"
    # A kind is a plain name: none leads out of the folder.
    if re.fullmatch(r"[A-Za-z0-9_-]+", kind):
        if own is not None and own.is_file():
            return own
        if bundled.is_file():
            return bundled
    known = ", ".join(bundled_kinds())
    raise SetupError(
        f"there is no template {kind!r}; known: {known}; your own go into the folder that `templates` names"
    )


def _bundled() -> Traversable:
    return resources.files("anytalk.synth.llm") / "templates"
