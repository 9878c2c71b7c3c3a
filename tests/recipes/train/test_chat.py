"""What training puts around questions and answers stands in the checkpoint, and talking asks in the same way."""

import json

import pytest
import torch
from support.tokenizer import write_chat_tokenizer
from support.training import MODEL, SHAPE, a_recipe, a_stage
from transformers import Qwen2Config, Qwen2ForCausalLM

from anytalk.model import decoding
from anytalk.model.layout import Layout, Task, Turn
from anytalk.model.network import MiniOmni
from anytalk.recipes.data.rows import Rows
from anytalk.recipes.data.tokenizer import encoder, load_tokenizer
from anytalk.recipes.train.dry_run import dry_run
from anytalk.recipes.train.recipe import Model
from anytalk.recipes.train.run import train

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


def write_backbone(folder):
    tokenizer = write_chat_tokenizer(folder)
    torch.manual_seed(0)
    shape = Qwen2Config(**SHAPE, vocab_size=len(tokenizer) + 5, tie_word_embeddings=True, initializer_range=0.3)
    Qwen2ForCausalLM(shape).save_pretrained(folder)
    return tokenizer


def test_a_backbone_is_addressed_by_its_own_template(write_dataset, tmp_path):
    tokenizer = write_backbone(tmp_path / "lm")
    model = {"backbone": str(tmp_path / "lm"), "adapter_hidden": 16, "chat_template": True, "system": "Be short."}
    folder = write_dataset()
    recipe = a_recipe(folder, model=model, stages=[a_stage(tasks={"T1T2": 1}, steps=2)])
    sample = dry_run(recipe).sample
    assert "system\\nBe short.<|im_end|>\\n<|im_start|>user\\n" in sample[1]
    assert "<|im_end|>\\n<|im_start|>assistant\\n" in sample[1]
    train(recipe, tmp_path / "run")
    made = MiniOmni.from_pretrained(tmp_path / "run" / "best")
    assert (
        json.loads((tmp_path / "run" / "best" / "config.json").read_text())["layout"]["chat"]["system"] == "Be short."
    )
    assert (tmp_path / "run" / "best" / "chat_template.jinja").is_file()
    [row] = [Rows([str(folder)], "train", encoder(load_tokenizer(tmp_path / "run" / "best")), 4096)[0]]
    asked = tokenizer.decode(row.question)
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": asked}]
    prompt = made.layout.request([Turn(Task.T1T2, question=row.question.tolist())])
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert prompt.streams[-1] == expected
    train(a_recipe(folder, model={"checkpoint": str(tmp_path / "run" / "best")}), tmp_path / "more")
    assert MiniOmni.from_pretrained(tmp_path / "more" / "best").layout == made.layout


def test_an_answer_ends_with_the_templates_own_token(write_dataset, tmp_path):
    write_backbone(tmp_path / "lm")
    model = {"backbone": str(tmp_path / "lm"), "adapter_hidden": 16, "chat_template": True}
    stage = a_stage(tasks={"T1T2": 1, "A1A2": 1}, steps=60, learning_rate=1e-2)
    one = write_dataset(splits={"train": 1})
    train(
        a_recipe(one, model=model, stages=[stage], data={"datasets": [str(one)], "validation": None}), tmp_path / "run"
    )
    made = MiniOmni.from_pretrained(tmp_path / "run" / "best")
    row = Rows([str(one)], "train", encoder(load_tokenizer(tmp_path / "run" / "best")), 4096)[0]
    requests = [
        decoding.Request([Turn(Task.T1T2, question=row.question.tolist())]),
        decoding.Request([Turn(Task.A1T2, positions=len(row.features))], [torch.from_numpy(row.features.copy())]),
    ]
    written, heard = decoding.generate(made, requests[:1])[0], decoding.generate(made, requests[1:])[0]
    assert (written.text, written.end) == (row.answer.tolist(), "eot")
    assert heard.end in ("eot", "limit")
    assert made.layout.end not in written.text


def test_a_system_prompt_needs_no_template(write_dataset, tmp_path):
    recipe = a_recipe(write_dataset(), model=MODEL | {"system": "a bird"}, stages=[a_stage(steps=1)])
    train(recipe, tmp_path / "run")
    layout = MiniOmni.from_pretrained(tmp_path / "run" / "best").layout
    first = load_tokenizer(tmp_path / "run" / "best").encode("a bird").ids
    assert (list(layout.chat.first), layout.chat.end, layout.end) == (first, None, layout.eot)


def test_layouts_from_before_have_no_chat():
    assert Layout(text_size=9, codebook_size=4, layers=2).chat is None
    with pytest.raises(ValueError, match="chat_template belongs to a backbone"):
        Model(shape=SHAPE, chat_template=True)
