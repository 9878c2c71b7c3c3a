"""Recipes: shorthands, overrides, and one clear line for each mistake."""

import pytest

from anytalk.pipelines.recipe import Recipe, load_recipe, pointing_at
from anytalk.synth.errors import SetupError

RECIPE = """
name: tiny
source: bundled
voices: {question: ["fake:a"], answer: "fake:b"}
"""

NO_NUMBER = "must be a number"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def problems(path, **overrides):
    with pytest.raises(SetupError) as caught:
        load_recipe(path, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value).splitlines()


def test_a_plain_name_is_a_section_by_itself(path):
    recipe = load_recipe(path, {"source": "talks/pairs.csv"})
    assert (recipe.source.kind, recipe.source.path) == ("csv", "talks/pairs.csv")
    assert recipe.voices.answer.voice == "fake:b"


def test_overrides_are_read_as_yaml(path):
    recipe = load_recipe(path, {"voices.variants": "3", "check.question.max_wer": "0.5"})
    assert recipe.voices.variants == 3
    assert recipe.check.question.max_wer == 0.5


def test_a_shorthand_keeps_its_meaning_when_one_of_its_keys_is_overridden(path):
    recipe = load_recipe(path, {"source.limit": 3, "voices.answer.speed": 0.9})
    assert (recipe.source.kind, recipe.source.limit) == ("bundled", 3)
    assert (recipe.voices.answer.voice, recipe.voices.answer.speed) == ("fake:b", (0.9, 0.9))


def test_another_kind_of_source_forgets_the_keys_of_the_old_one(path):
    path.write_text(RECIPE.replace("source: bundled", "source: {kind: bundled, limit: 3}"))
    recipe = load_recipe(path, {"source.kind": "jsonl", "source.path": "x.jsonl"})
    assert (recipe.source.kind, recipe.source.limit) == ("jsonl", None)


def test_an_override_reaches_into_a_list(path):
    path.write_text(RECIPE.replace('["fake:a"]', '["fake:ann", {voice: "fake:bob", speed: 1.1}]'))
    choices = load_recipe(path, {"voices.question.0.speed": 0.9, "voices.question.1": "fake:cat"}).voices.question
    assert [(choice.voice, choice.speed[0]) for choice in choices] == [("fake:ann", 0.9), ("fake:cat", 1.0)]
    [line] = problems(path, voices__question__2__speed=0.9)
    assert line == "--set voices.question.2: voices.question has 2 entries, counted from 0"
    [line] = problems(path, voices__question=3)
    assert "voices.question: must be a list, as in --set 'voices.question=[...]'" in line


def test_an_override_reaches_into_a_mix_however_its_parts_are_written(path):
    path.write_text(RECIPE.replace("bundled", "[bundled, {kind: csv, path: a.csv}, {source: b.csv, weight: 2}]"))
    for key in ("source.0.limit", "source.parts.0.limit"):
        assert load_recipe(path, {key: 3}).source.parts[0].source.limit == 3
    changed = load_recipe(path, {"source.0.weight": 4, "source.1.weight": 5, "source.2.source.limit": 6})
    assert [part.weight for part in changed.source.parts] == [4, 5, 2]
    assert changed.source.parts[2].source.limit == 6
    [line] = problems(path, source__2__limit=3)
    assert line.endswith("unknown key source.parts.2.limit; did you mean source.parts.2.source.limit?")
    assert load_recipe(path, {"source.parts.2.source.limit": 6}).source.parts[2].source.limit == 6


def test_an_override_of_one_alias_leaves_the_other_as_it_is(path):
    path.write_text(RECIPE + "check: {question: &both {max_wer: 0.2}, answer: *both}\n")
    check = load_recipe(path, {"check.answer.max_wer": 0.5}).check
    assert (check.question.max_wer, check.answer.max_wer) == (0.2, 0.5)


def test_a_key_without_its_section_is_told_where_it_stands(path):
    [line] = problems(path, attempts=3)
    assert line.endswith("unknown key attempts; did you mean check.attempts?")


def test_a_misspelt_key_names_the_nearest(path):
    assert problems(path, voices__varients=2) == [
        "recipe tiny.yaml: unknown key voices.varients; did you mean variants?"
    ]
    assert problems(path, sorce="x") == ["recipe tiny.yaml: unknown key sorce; did you mean source?"]
    assert problems(path, check__question__max_wr=1)[0].endswith("did you mean max_wer?")


def test_a_value_out_of_range_is_named_with_its_value(path):
    [line] = problems(path, voices__variants=0)
    assert line.startswith("recipe tiny.yaml: voices.variants: ")
    assert line.endswith("; got 0")


def test_a_device_is_named_as_engines_take_it(path):
    assert load_recipe(path).resources.device == "auto"
    assert load_recipe(path, {"resources.device": "cuda:1"}).resources.device == "cuda:1"
    [line] = problems(path, resources__device="gpu")
    assert line.startswith("recipe tiny.yaml: resources.device: there is no device 'gpu'; name auto, cpu, cuda")
    [line] = problems(path, resources__device="cuda", resources__gpus=0)
    assert "gpus 0 reserves no GPU, but device is cuda" in line


def test_the_device_does_not_stand_in_the_identity_of_units_and_the_precision_does(path):
    plain = load_recipe(path).unit_identity()
    assert load_recipe(path, {"resources.device": "cpu"}).unit_identity() == plain
    assert load_recipe(path, {"codec.compute_type": "float16"}).unit_identity() != plain
    # What says what is said anyway changes nothing.
    assert load_recipe(path, {"codec.compute_type": "float32"}).unit_identity() == plain


def test_a_mistake_in_the_file_is_told_with_its_line(path):
    text = """\
name: tiny
source:
  - bundled
  - {kind: csv, path: a.csv, colums: {}}
voices:
  question:
    - hibari:heart
    - voice: piper:joe
      speed: [0.1, 1]
  anser: hibari:heart
check: {question: {max_wer: high}}
"""
    path.write_text(text)
    assert [line.partition(": ")[::2] for line in problems(path)] == [
        (f"{path}:4", "unknown key source.parts.1.source.colums; did you mean columns?"),
        (f"{path}:9", "voices.question.1.speed.0: must be greater than or equal to 0.5; got 0.1"),
        (f"{path}:5", "voices.answer is missing; give it with --set voices.answer=..."),
        (f"{path}:10", "unknown key voices.anser; did you mean answer?"),
        (f"{path}:11", f'check.question.max_wer: {NO_NUMBER}; got "high"'),
    ]
    # What an option says stands in no file.
    [line] = [line for line in problems(path, voices__question="hibari:heart") if "voices.question" in line]
    assert line.startswith("recipe tiny.yaml: voices.question: must be a list")


MISTAKES = {
    "voices: {question: [{voic: x}], answer: fake:b}": [
        "voices.question.0.voice is missing",
        "unknown key voices.question.0.voic; did you mean voice?",
    ],
    "voices: {question: [], answer: 4}": [
        "voices.question: must hold at least 1; it holds 0",
        "voices.answer: must be a name, or a section with the keys voice, speed, pitch, language, ...; got 4",
    ],
    "source: {kind: sharegtp, path: x}": ["source.kind: there is no kind 'sharegtp'; did you mean sharegpt?"],
    "source: {kind: csv, path: x, language: no}": [
        "source.language: must be text; YAML reads this as false, so put it in quotation marks"
    ],
    "decontaminate: {against: [{pth: x}]}": [
        "decontaminate.against.0.path is missing",
        "unknown key decontaminate.against.0.pth; did you mean path?",
    ],
    "decontaminate: http://user:secret@host": [
        "decontaminate: must be a section with the keys against, ngram, min_overlap, sides; got a URL"
    ],
    "split: {test: 0.1, held_out_voices: {tset: x}}": [
        "unknown key split.held_out_voices.tset; known: validation or test",
        'split.held_out_voices.tset: must be a list: one entry a line after a hyphen, or [...]; got "x"',
    ],
    "split: {test: 0.1, held_out_voices: [fake:z]}": [
        "split.held_out_voices: fake:z not among voices.question: fake:a"
    ],
    "check: {max_wer: 0.1}": [
        "unknown key check.max_wer; did you mean check.question.max_wer or check.answer.max_wer?"
    ],
    "name: no spaces": [
        'name: must be letters, digits, dots, hyphens and underscores, without spaces; got "no spaces"'
    ],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_each_mistake_is_told_once_in_its_own_words(path, line):
    others = [each for each in RECIPE.strip().splitlines() if each.split(":")[0] != line.split(":")[0]]
    path.write_text("\n".join([*others, line]))
    assert problems(path) == [f"{path}:{len(others) + 1}: {told}" for told in MISTAKES[line]]


def test_what_may_be_written_in_several_ways_is_read_in_the_way_that_it_is_written(path):
    ask = "{conversations: 2, kinds: 3, seconds: [a], languages: {en: x}}"
    endpoint = "{base_url: 'http://host/v1', model: tiny}"
    path.write_text(RECIPE.replace("bundled", f"{{kind: llm, endpoint: {endpoint}, ask: {ask}}}"))
    assert [line.partition(": ")[2] for line in problems(path)] == [
        "source.ask.kinds: must be a mapping or a list; got 3",
        'source.ask.seconds.0: must be a number; got "a"',
        'source.ask.languages.en: must be a number; got "x"',
    ]


def test_a_key_that_stands_twice_is_refused_with_both_lines(path):
    path.write_text("name: tiny\nsource: bundled\nvoices:\n  variants: 2\n  answer: a\n  variants: 3\n")
    assert problems(path) == [f"{path}:6: the key voices.variants stands twice; line 4 has it already"]


def test_a_mistake_that_is_found_later_is_told_with_its_line_too(path):
    path.write_text(RECIPE.replace("bundled", "\n  kind: jsonl\n  path: nowhere.jsonl"))
    said = "source.path: nowhere.jsonl does not exist"
    for overridden, begins in (({}, f"{path}:5: "), ({"source.path": "x"}, "")):
        with pytest.raises(SetupError) as caught, pointing_at(path, overridden):
            raise SetupError(f"{said}\nanother line")
        assert str(caught.value) == f"{begins}{said}\nanother line"


def test_all_problems_come_at_once(path):
    lines = problems(path, voices__variants=0, seed=-1, nonsense=1)
    assert len(lines) == 3


def test_a_missing_file_and_a_file_that_is_no_recipe_are_named(tmp_path):
    assert problems(tmp_path / "no.yaml") == [f"recipe {tmp_path / 'no.yaml'} does not exist"]
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    assert problems(broken)[0].startswith(f"{broken}:1: not YAML: ")


def test_a_recipe_cannot_name_python_objects(path):
    path.write_text(RECIPE + "seed: !!python/object/apply:os.getpid []\n")
    assert ": not YAML: could not determine a constructor" in problems(path)[0]


def test_resources_change_no_identity_but_anything_else_does(path):
    recipe = load_recipe(path)
    assert load_recipe(path, {"resources.hearing": 2}).unit_identity() == recipe.unit_identity()
    assert load_recipe(path, {"seed": 2}).unit_identity() != recipe.unit_identity()


def test_thresholds_leave_the_work_units_what_they_are(path):
    recipe = load_recipe(path)
    assert load_recipe(path, {"check.question.max_wer": 0.9}).unit_identity() == recipe.unit_identity()
    assert load_recipe(path, {"audio.loudness_lufs": -23}).unit_identity() != recipe.unit_identity()


def test_a_list_of_steps_is_an_augmentation_and_its_threshold_decides_what_a_row_becomes(path):
    steps = [{"kind": "speed", "factor": 0.9}, {"kind": "codec", "codecs": ["opus", "amr-nb"], "kbit_s": [6, 12]}]
    recipe = load_recipe(path, {"augment": steps})
    assert recipe.augment.steps[0].factor == (0.9, 0.9)
    gated = load_recipe(path, {"augment": steps, "augment.max_wer": 0.4})
    assert (gated.augment.steps, gated.augment.max_wer) == (recipe.augment.steps, 0.4)
    assert len({each.unit_identity() for each in (gated, recipe, load_recipe(path))}) == 3


def test_each_mistake_in_a_step_is_one_line(path):
    steps = [
        {"kind": "noise", "snr": 3},
        {"kind": "noise", "folder": "x", "snr_db": [20, 5]},
        {"kind": "codec", "codecs": ["mp3"], "kbit_s": 9},
        {"kind": "codec", "codecs": []},
        {"factor": 1},
    ]
    assert problems(path, augment=steps) == [
        "recipe tiny.yaml: augment.steps.0.folder is missing",
        "recipe tiny.yaml: unknown key augment.steps.0.snr; did you mean snr_db?",
        "recipe tiny.yaml: augment.steps.1.snr_db: a range goes from its smaller to its larger end; got [20, 5]",
        "recipe tiny.yaml: augment.steps.2: mp3 has no bit rate in kbit_s (9.0, 9.0)",
        "recipe tiny.yaml: augment.steps.3: codecs must name at least one",
        "recipe tiny.yaml: augment.steps.4.kind is missing",
    ]
    [line] = problems(path, augment=[])
    assert "steps must hold at least one" in line


def test_the_recipe_is_a_json_schema_for_editors():
    assert "voices" in Recipe.model_json_schema()["properties"]


def test_a_list_of_sources_is_a_mix(path):
    mix = ["bundled", {"source": "a.csv", "weight": 2}, {"kind": "csv", "path": "b.csv"}]
    recipe = load_recipe(path, {"source": mix, "source.limit": 9})
    assert [(part.source.kind, part.weight) for part in recipe.source.parts] == [("bundled", 1), ("csv", 2), ("csv", 1)]
    assert recipe.source.limit == 9


def test_a_key_of_another_kind_of_source_is_unknown(path):
    assert problems(path, source__respeek=True) == [
        "recipe tiny.yaml: unknown key source.respeek; known: split_name, language, limit, kind"
    ]
    path.write_text(RECIPE.replace("bundled", "{kind: voiceassistant}") + "codec: {model: snac-codes}\n")
    assert problems(path, source__respeek=True)[0].endswith("unknown key source.respeek; did you mean respeak?")
    assert problems(path, source=[{"source": {"kind": "jsonl", "pth": "x"}}]) == [
        "recipe tiny.yaml: source.parts.0.source.path is missing",
        "recipe tiny.yaml: unknown key source.parts.0.source.pth; did you mean path?",
    ]
    assert problems(path, source={"path": "x"}) == ["recipe tiny.yaml: source.kind is missing"]


def test_what_only_the_user_knows_is_asked_for_by_its_setting(path):
    [line] = problems(path, source={"kind": "recordings"})
    assert line == "recipe tiny.yaml: source.path is missing; give it with --set source.path=..."


def test_a_mix_may_be_of_several_languages(path):
    mix = ["bundled", {"source": {"kind": "bundled", "language": "de"}}]
    assert load_recipe(path, {"source": mix}).source.language == "en"
