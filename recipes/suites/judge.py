"""A language model that judges answers: right or wrong against references, or from 1 to 5 where there are none.

The two prompts are `judge_reference.md` and `judge_open.md` of `synth/llm/templates`; VoiceBench asks for the same two
judgements (`api_judge.py` of MatthewCYM/VoiceBench). Sampling is greedy. What the judge was told and what it said stays
in a folder: `prompts.json`, `verdicts.jsonl`, and the cache, from which a second run takes every verdict.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from anytalk.synth.errors import EngineError, SampleError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.client import ChatClient
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.job import repair_seed, repairing, texts_of
from anytalk.synth.llm.json_answer import read_object
from anytalk.synth.llm.template import JUDGE_FIELDS, Template, load_template
from anytalk.synth.wording import quantity

CACHE, PROMPTS, VERDICTS = "answers.sqlite", "prompts.json", "verdicts.jsonl"
MAX_TOKENS = 512
SEED = 0


class _Correct(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    correct: bool

    @property
    def verdict(self) -> float:
        return float(self.correct)


class _Score(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    score: int = Field(ge=1, le=5)

    @property
    def verdict(self) -> float:
        return float(self.score)


@dataclass(frozen=True)
class Judged:
    """An answer to be judged."""

    set: str
    id: str
    answerer: str
    question: str
    references: tuple[str, ...]
    answer: str


Verdict = float | SampleError
"""1 or 0 against references, 1 to 5 without; or why there is none."""


def judge_endpoint(base_url: str, model: str, key_env: str | None = None) -> ChatEndpoint:
    """Describe the judge's endpoint; it is asked at temperature 0.

    Raises:
        ValueError: the URL or the variable's name is malformed.
    """
    return ChatEndpoint(base_url, model, key_env, temperature=0.0, max_tokens=MAX_TOKENS)


class Judge:
    """Asks an endpoint for verdicts and keeps them.

    Args:
        endpoint: where it is.
        folder: for prompts, verdicts and cache.
    """

    def __init__(self, endpoint: ChatEndpoint, folder: Path) -> None:
        self.endpoint, self.folder = endpoint, folder
        self._with_references = load_template("judge_reference", fields=JUDGE_FIELDS)
        self._open = load_template("judge_open", fields=JUDGE_FIELDS)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def name(self) -> str:
        """The model's."""
        return self.endpoint.model

    def probe(self) -> None:
        """Find out with a small request whether it answers; a run whose verdicts are kept may need none.

        Raises:
            SetupError: it does not.
        """
        if not (self.folder / VERDICTS).is_file():
            asyncio.run(ChatClient(self.endpoint).probe(_Correct.model_json_schema()))

    def judge(self, answers: Sequence[Judged], advance: Callable[[], None] = lambda: None) -> list[Verdict]:
        """Judge answers, side by side.

        Args:
            answers: of one suite, or of several sets.
            advance: called after each.

        Returns:
            A verdict for each, in order.

        Raises:
            EngineError: some got none because the endpoint failed; the others are kept.
        """
        with AnswerCache(self.folder / CACHE) as cache:
            found = asyncio.run(self._all(answers, ChatClient(self.endpoint, cache), advance))
        if failed := [each for each in found if isinstance(each, EngineError)]:
            raise EngineError(
                f"the judge {self.endpoint} gave no verdict on {quantity(len(failed), 'answer')} of {len(found)}: "
                f"{failed[0]}; the same command asks for these alone"
            )
        verdicts = [each for each in found if not isinstance(each, EngineError)]
        self._keep(answers, verdicts)
        return [said if isinstance(said, SampleError) else said[0] for said in verdicts]

    async def _all(
        self, answers: Sequence[Judged], client: ChatClient, advance: Callable[[], None]
    ) -> "list[tuple[float, str] | SampleError | EngineError]":
        async def one(answer: Judged) -> "tuple[float, str] | SampleError | EngineError":
            try:
                return await self._one(answer, client)
            except (SampleError, EngineError) as error:
                return error
            finally:
                advance()

        return list(await asyncio.gather(*map(one, answers)))

    async def _one(self, answer: Judged, client: ChatClient) -> tuple[float, str]:
        """Ask, and have an answer that is no verdict mended once."""
        template: Template = self._with_references if answer.references else self._open
        model: type[_Correct | _Score] = _Correct if answer.references else _Score
        # JSON strings, so that it is plain where they end and an answer cannot pass for instructions.
        values = {name: json.dumps(getattr(answer, name), ensure_ascii=False) for name in JUDGE_FIELDS}
        messages, schema = template.fill(values), model.model_json_schema()
        said = await client.ask(messages, SEED, schema)
        try:
            found = read_object(said, texts_of(messages), model)
        except SampleError as problem:
            told = repairing(messages, said, problem)
            said = await client.ask(told, repair_seed(SEED), schema, repair=True)
            found = read_object(said, texts_of(messages), model)
        return float(found.verdict), said.model

    def _keep(self, answers: Sequence[Judged], found: "Sequence[tuple[float, str] | SampleError]") -> None:
        def line(answer: Judged, verdict: "tuple[float, str] | SampleError") -> dict[str, Any]:
            if isinstance(verdict, SampleError):
                return asdict(answer) | {"verdict": None, "error": str(verdict)}
            return asdict(answer) | {"verdict": verdict[0], "judge": verdict[1]}

        lines = [json.dumps(line(*pair), ensure_ascii=False) for pair in zip(answers, found, strict=True)]
        _write(self.folder / VERDICTS, "".join(f"{each}\n" for each in lines))
        prompts = {
            "model": self.endpoint.model,
            "server": self.endpoint.server,
            "sampling": self.endpoint.sampling(),
            "seed": SEED,
            "templates": [_told(template) for template in (self._with_references, self._open)],
        }
        _write(self.folder / PROMPTS, json.dumps(prompts, indent=2, ensure_ascii=False) + "\n")


def _told(template: Template) -> dict[str, str]:
    return {"name": template.name, "system": template.system, "user": template.user}


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
