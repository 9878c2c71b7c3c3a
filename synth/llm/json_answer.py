"""Find the JSON object that a model was asked for: with thinking, prose or fences around it, or mistakes in it.

Strict JSON is read by Python, all other by json-repair (https://github.com/mangiucugna/json_repair, MIT).
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from anytalk.synth.errors import SampleError

from .completion import Answer

ModelT = TypeVar("ModelT", bound=BaseModel)

MOST_STARTS = 40
"""Braces that are tried, of a text of many."""

_THOUGHT = re.compile(
    r"^.*(?:</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>)",
    re.DOTALL | re.IGNORECASE,
)
"""All up to the end of what a model thought before it answered, in the marks of common models."""

_START = re.compile(r"\{|\[(?=\s*\{)")
_OPENING = re.compile("(?<=[{\\[,:])(\\s*)[\u201c\u201d\u201e\u201f]")
_CLOSING = re.compile('[\u201c\u201d\u201f](?=\\s*(?:[:}\\]]|,\\s*["\u201c\u201d\u201e{}\\]]))')
"""Typographic quotation marks in the places where JSON has straight ones."""


def read_object(answer: Answer, told: Sequence[str], model: type[ModelT]) -> ModelT:
    """Read an answer as the object that was asked for.

    Objects that the model was told are not its own: some models repeat the form that they were shown before they fill
    it in, and some servers send the whole prompt back.

    Args:
        answer: what the model said.
        told: texts of the messages that it was sent.
        model: what the object must be.

    Raises:
        SampleError: `echoes_prompt` if the only objects are those that it was told; `malformed_answer` if there is no
            other or it is of another form.
    """
    text = _THOUGHT.sub("", answer.text)
    text = text if "{" in text else answer.text
    known = [found for one in told for found in _objects(one, mended=False)]
    problem: ValidationError | None = None
    echoed = False
    for found in _candidates(text, is_cut=answer.finish_reason == "length"):
        if found in known:
            echoed = True
            continue
        try:
            return model.model_validate(found)
        except ValidationError as error:
            problem = problem or error
    if problem is not None:
        first = problem.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the object"
        raise SampleError("malformed_answer", f"{where}: {first['msg']}")
    if echoed:
        raise SampleError("echoes_prompt", "the JSON object is the example of the prompt, which must be filled in")
    cut = f"; it was cut off after {answer.completion_tokens} tokens" if answer.finish_reason == "length" else ""
    raise SampleError("malformed_answer", f"there is no JSON object in {text[:60]!r}{cut}")


def _candidates(text: str, is_cut: bool) -> Iterator[object]:
    """Objects that may be the one that was asked for.

    Of a text that was cut off only what is whole counts, alone and together: mended, half a sentence would pass.
    """
    if not is_cut:
        yield from _objects(text, mended=True)
        return
    whole = list(_objects(text, mended=False))
    if len(whole) > 1:
        yield whole
    yield from whole


def _objects(text: str, mended: bool) -> Iterator[object]:
    """Objects of a text, the outer before the inner ones; with mistakes mended where that is wanted."""
    decoder = json.JSONDecoder(strict=False)
    end = max(text.rfind("}"), text.rfind("]")) + 1
    place = 0
    for _ in range(MOST_STARTS):
        start = _START.search(text, place, end)
        if start is None:
            return
        try:
            found, place = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            place = start.start() + 1
            # To the last brace, so that nothing of what was cut off after it passes for whole.
            yield from _mended(text[start.start() : end]) if mended else ()
        else:
            yield found


def _mended(text: str) -> Iterator[object]:
    from json_repair import repair_json

    # Marks inside a text stay as they are, where the JSON around it has straight ones.
    for version in dict.fromkeys((text, _CLOSING.sub('"', _OPENING.sub(r'\1"', text)))):
        try:
            yield repair_json(version, return_objects=True, skip_json_loads=True)
        except (ValueError, RecursionError):
            continue
