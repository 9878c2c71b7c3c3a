"""The shipped recipe `frozen`: after training, the language model writes word for word what it wrote before."""

import pytest
import torch
from safetensors.torch import load_file
from support.tokenizer import write_chat_tokenizer
from support.training import SHAPE
from transformers import AutoModelForCausalLM, GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from anytalk.model import decoding
from anytalk.model.layout import Task, Turn
from anytalk.model.network import MiniOmni
from anytalk.recipes.data import encoder, load_tokenizer
from anytalk.recipes.data.rows import read_encoding, shard_paths
from anytalk.recipes.train.recipe import load_training_recipe
from anytalk.recipes.train.run import train
from anytalk.recipes.train.start import start_model
from anytalk.synth.seed import derive_seed

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

FRAMES = 6
TOKENS = FRAMES + 7  # as many as a written answer may have
QUESTIONS = ["Who are you?", "Can a bird do every game?", "What did the old one say then?"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, write_dataset_at):
    """The language model, the run, and the model before it."""
    folder = tmp_path_factory.mktemp("frozen")
    tokenizer = write_chat_tokenizer(folder / "lm")
    torch.manual_seed(1)
    shape = Qwen2Config(**SHAPE, vocab_size=len(tokenizer) + 5, tie_word_embeddings=True, initializer_range=0.4)
    Qwen2ForCausalLM(shape).save_pretrained(folder / "lm")
    dataset = write_dataset_at(folder / "dataset")
    recipe = load_training_recipe(
        "frozen",
        {
            "data.datasets": [str(dataset)],
            "model.backbone": str(folder / "lm"),
            "model.features": "fake",
            "model.adapter_hidden": 16,
            "model.tts_adapter_layers": 1,
            **{f"stages.{n}.steps": 4 for n in range(3)},
            **{f"stages.{n}.warmup_steps": 1 for n in range(3)},
            **{f"stages.{n}.learning_rate": 1e-2 for n in range(3)},
            "optim.weight_decay": 0.5,
            "loader": {"positions": 300, "max_positions": 200},
        },
    )
    train(recipe, folder / "run")
    words = load_tokenizer(folder / "run" / "best")
    encoding = read_encoding(shard_paths(str(dataset), "train"))
    before = start_model(recipe.model, encoding, words, derive_seed(recipe.seed, "weights")).eval()
    return folder, before


def requests(folder, task):
    asked = encoder(load_tokenizer(folder / "run" / "best"))(QUESTIONS)
    return [decoding.Request([Turn(task, question=question)], max_frames=FRAMES) for question in asked]


def own_answers(folder, tokenizer):
    """What the language model itself writes, by transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder / "lm").eval()
    end = tokenizer.eos_token_id
    settings = GenerationConfig(max_new_tokens=TOKENS, do_sample=False, eos_token_id=end, pad_token_id=end)
    for question in QUESTIONS:
        told = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(told, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        said = model.generate(**ids, generation_config=settings)[0, ids["input_ids"].shape[1] :].tolist()
        yield [token for token in said if token != end]


def test_written_answers_are_the_language_models_own_word_for_word(trained):
    folder, _ = trained
    tokenizer = write_chat_tokenizer(folder / "again")
    own = list(own_answers(folder, tokenizer))
    model = MiniOmni.from_pretrained(folder / "run" / "best")
    written = decoding.generate(model, requests(folder, Task.T1T2))
    spoken = decoding.generate(model, requests(folder, Task.T1A2), parallel=True)
    assert [answer.text for answer in written] == own
    assert [answer.text[: len(own[n])] for n, answer in enumerate(spoken)] == own
    assert all(len(answer.codes) for answer in spoken)
    assert min(map(len, own)) > 2
    assert len({tuple(text) for text in own}) == len(QUESTIONS)


def test_text_logits_are_the_same_bits_before_and_after_training(trained):
    folder, before = trained
    after = MiniOmni.from_pretrained(folder / "run" / "best")
    text_size = before.layout.text_size
    turns = [Turn(Task.T1A2, question=[60, 70, 80], answer=[40, 50, 90], codes=[(1, 2, 3, 4, 5, 6, 7)] * 3)]
    streams = torch.tensor([before.layout.example(turns).streams])[:, :, : 3 + before.layout.prompt_length(turns[0])]
    with torch.no_grad():
        logits = [model(streams).text_logits[..., :text_size] for model in (before, after)]
        audio = [model(streams).audio_logits for model in (before, after)]
    assert torch.equal(*logits)
    assert not torch.equal(*audio)
    louder = streams.clone()
    louder[:, :-1, -3:] = before.layout.shift(9, 0)
    louder[:, 1:-1, -3:] += torch.arange(1, 7)[None, :, None] * before.layout.audio_vocabulary
    assert torch.equal(after(louder).text_logits, after(streams).text_logits)


def test_all_that_should_learn_does_and_nothing_else(trained):
    folder, before = trained
    after = load_file(folder / "run" / "best" / "model.safetensors")
    old = before.layout.text_size
    for name, value in before.state_dict().items():
        if name == "backbone.model.embed_tokens.weight":
            assert value[:old].equal(after[name][:old])
        elif name in after:
            learns = name.startswith(("whisper_adapter.", "tts_adapter.", "audio_"))
            assert value.equal(after[name]) != learns, name
