"""What real models and their servers do: shapes of answers, echoes of the prompt, other languages, formats."""

# ruff: noqa: RUF001  letters of other scripts are what is tested

import json
from importlib import resources

import pytest
from support.asking import ask, generated, good_answer
from support.misbehaving import HABITS, Fault, serve, shaped

from anytalk.synth.errors import SampleError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.echo import echo_of
from anytalk.synth.llm.generate import Generation, generation_jobs
from anytalk.synth.llm.job import Generated, Turn
from anytalk.synth.llm.speech import check_spoken

ONE_TURN = {"kinds": ["everyday"]}
BEES = json.dumps({"turns": [{"question": "What do bees make?", "answer": "Bees make honey."}]})


@pytest.mark.parametrize("habit", HABITS)
def test_a_good_answer_is_understood_at_once_in_whatever_shape_it_comes(habit):
    with serve(good_answer, lambda number, body: HABITS[habit](BEES)) as server:
        [outcome], client = generated(server, 1, ask=ONE_TURN)
    assert outcome.turns == (Turn(question="What do bees make?", answer="Bees make honey."),)
    assert (len(server.bodies), outcome.provenance["repaired"]) == (1, 0)
    assert client.usage.uncounted == 1


@pytest.mark.parametrize(
    "said",
    [
        '{"turns": [{"question": "What do bees make?", "answer": "Bees make hon',
        '{"turns": [{"question": "What do bees make?"}]}',
        '{"dialogue": []}',
        '{"turns": "What do bees make?"}',
        "{" * 3000,
        "[" * 100_000,
        "",
    ],
)
def test_what_is_no_answer_is_not_mended_into_one(said):
    with serve(lambda body: said) as server:
        [outcome], _ = generated(server, 1, ask=ONE_TURN)
    assert (outcome.reason, outcome.said) == ("malformed_answer", said)


def test_half_a_sentence_of_an_answer_that_was_cut_off_is_not_taken_for_a_whole_one():
    cut = '{"turns": [{"question": "What is [it]?", "answer": "It is {one} of the'
    with serve(lambda body: "", lambda number, body: shaped(cut, finish_reason="length")) as server:
        [outcome], _ = generated(server, 1, ask=ONE_TURN)
    assert outcome.reason == "malformed_answer"
    assert "cut off after" in outcome.detail


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("refused", [("json_schema",), ("json_schema", "json_object")])
def test_a_server_that_minds_a_format_is_asked_in_a_plainer_one_and_that_is_remembered(status, refused):
    def fault(number, body):
        form = body.get("response_format", {}).get("type")
        return Fault(status, "this grammar cannot be compiled") if form in refused else None

    with serve(good_answer, fault) as server:
        [first], _ = generated(server, 1)
        sent = len(server.bodies)
        others, _ = generated(server, 10, seed=2)
    assert isinstance(first, Generated)
    assert all(isinstance(outcome, Generated) for outcome in others)
    assert len(server.bodies) == sent + 10
    assert sent <= 1 + 2 * len(refused)


def test_a_request_on_which_a_server_breaks_is_sent_once_more_in_a_plainer_format():
    def fault(number, body):
        form = body.get("response_format", {}).get("type")
        return Fault(500, "no such grammar") if form == "json_schema" and body["seed"] % 5 == 0 else None

    with serve(good_answer, fault) as server:
        generated(server, 1, ask=ONE_TURN)
        outcomes, _ = generated(server, 20, attempts=2)
        forms = [body["response_format"]["type"] for body in server.bodies if body["seed"] % 5]
    assert all(isinstance(outcome, Generated) for outcome in outcomes)
    assert set(forms) == {"json_schema"}


# -- Echoes and languages

PROMPT = next(iter(generation_jobs(Generation(conversations=1, **ONE_TURN), 1))).prompt


@pytest.mark.parametrize(
    "said",
    [
        "What the person says?",
        "what the assistant says",
        "Both sides are spoken language, with everyday words.",
        "The answer is of use, and takes about ten seconds to say.",
        "Write one question or remark from everyday life.",
        "As an AI language model, I cannot have a favourite.",
        "Here is the conversation you asked for.",
    ],
)
def test_what_repeats_the_prompt_or_talks_about_it_is_refused(said):
    assert echo_of(said, PROMPT) is not None


@pytest.mark.parametrize(
    "said",
    ["At half past three.", "Twenty percent.", "Say it again, please.", "The person at the door says hello.", "您好!"],
)
def test_short_answers_that_any_prompt_may_hold_are_not(said):
    assert echo_of(said, PROMPT) is None


def test_nothing_of_the_bundled_corpus_repeats_a_prompt():
    lines = (resources.files("anytalk.synth") / "corpus" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)[side] for line in lines for side in ("question", "answer")]
    assert [text for text in texts if echo_of(text, PROMPT)] == []


def test_a_form_that_is_not_filled_in_ends_as_an_echo_with_what_was_said():
    said = '{"turns": [{"question": "What the person says?", "answer": "It is a lamp."}]}'
    with serve(lambda body: said) as server:
        [outcome], _ = generated(server, 1, ask=ONE_TURN)
    assert (outcome.reason, outcome.said) == ("echoes_prompt", said)
    assert "That repeats the instructions" in server.bodies[1]["messages"][-1]["content"]


def test_an_answer_that_repeats_its_question_is_an_echo():
    said = '{"turns": [{"question": "How do bees find home?", "answer": "How do bees find home"}]}'
    with serve(lambda body: said) as server:
        [outcome], _ = generated(server, 1, ask=ONE_TURN)
    assert outcome.reason == "echoes_prompt"


def test_an_answer_in_another_language_is_refused_and_keeps_the_one_that_was_asked_for():
    said = '{"turns": [{"question": "What do bees make of flowers?", "answer": "They make honey of nectar."}]}'
    with serve(lambda body: said) as server:
        [outcome], _ = generated(server, 1, ask=ONE_TURN | {"languages": ["de"]})
    assert (outcome.reason, outcome.language, outcome.said) == ("wrong_language", "de", said)


SPOKEN = {
    "en-GB": "Can I freeze leftover pasta sauce?",
    "de-AT": "Eine Spinne hat acht Beine, und sie baut ein Netz.",
    "fr": "Est-ce que je peux congeler la sauce tomate?",
    "es-MX": "La capital de Francia es París, sin duda.",
    "pt-BR": "Você pode congelar o molho por três meses.",
    "it": "Sì, puoi congelare la salsa per tre mesi.",
    "nl": "Een spin heeft acht poten en maakt een web.",
    "sv": "En spindel har åtta ben och spinner ett nät.",
    "da": "En edderkop har otte ben og spinder et net.",
    "nb": "En edderkopp har åtte bein og spinner et nett.",
    "fi": "Hämähäkillä on kahdeksan jalkaa, ja se kutoo verkon.",
    "pl": "Pająk ma osiem nóg i przędzie sieć.",
    "cs": "Pavouk má osm nohou a spřádá síť.",
    "sk": "Pavúk má osem nôh a pradie sieť.",
    "hr": "Pauk ima osam nogu i plete mrežu.",
    "tr": "Örümceğin sekiz bacağı vardır ve ağ örer.",
    "ru": "У паука восемь ног, и он плетёт паутину.",
    "uk": "Павук має вісім ніг і плете павутину.",
    "zh-CN": "蜘蛛有八条腿,会织网,大家都知道这件事情,对不对。",
    "ja": "クモには足が八本あって、巣を作ります。みんな知っています。",
    "ar": "للعنكبوت ثمانية أرجل وهو ينسج شبكة.",
    "hi": "मकड़ी के आठ पैर होते हैं और वह जाल बुनती है।",
}


@pytest.mark.parametrize("language", SPOKEN)
def test_a_text_in_its_own_language_passes_and_english_in_its_place_does_not(language):
    check_spoken("the answer", SPOKEN[language], language, 30.0)
    if not language.startswith("en"):
        with pytest.raises(SampleError, match="wrong_language"):
            check_spoken("the answer", "A spider has eight legs, and it makes a web.", language, 30.0)


@pytest.mark.parametrize("text", ["Okay.", "Yes, please do.", "Berlin.", "It is Tuesday.", "Marie Curie."])
def test_a_few_words_are_of_any_language(text):
    check_spoken("the answer", text, "de", 30.0)


# -- The cache


def test_two_servers_that_call_their_model_the_same_do_not_share_answers(tmp_path):
    with AnswerCache(tmp_path / "a.sqlite") as cache:
        with serve(lambda body: "one") as one, serve(lambda body: "two") as two:
            asked = [one, two, one, two]
            assert [ask(server, cache).text for server in asked] == ["one", "two", "one", "two"]
            assert ask(one, cache, revision="ours").text == "one"
            assert ask(two, cache, revision="ours").text == "one"
        assert (len(one.bodies), len(two.bodies)) == (2, 1)
