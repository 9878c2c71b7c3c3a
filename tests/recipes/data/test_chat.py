"""A chat template taken apart gives, put together again, the sequences of transformers; what it cannot do is said."""

import pytest
from support.tokenizer import CHATML, write_chat_tokenizer
from transformers import AutoTokenizer

from anytalk.model.layout import Layout, Task, Turn
from anytalk.recipes.data.chat import system_chat, template_chat
from anytalk.recipes.data.tokenizer import encoder, load_tokenizer
from anytalk.synth.errors import SetupError

LLAMA = (
    "{{ '<|endoftext|>' }}{% for message in messages %}<|im_start|>{{ message.role }}\n\n{{ message.content | trim }}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)
"""As Llama 3's: a text that begins with a token of its own, and no line break after an answer."""


@pytest.mark.parametrize("system", [None, "Be short."])
@pytest.mark.parametrize("template", [CHATML, LLAMA])
def test_a_written_conversation_is_the_templates_own(tmp_path, template, system):
    pretrained = write_chat_tokenizer(tmp_path, template)
    tokenizer = load_tokenizer(tmp_path)
    chat = template_chat(AutoTokenizer.from_pretrained(tmp_path), tokenizer, system)
    layout = Layout(tokenizer.get_vocab_size(), 16, 7, chat=chat)
    said = ["Who are you?", "A fine old bird.", "Can you do every game?"]
    asked, answer, again = encoder(tokenizer)(said)
    turns = [Turn(Task.T1T2, question=asked, answer=answer), Turn(Task.T1T2, question=again)]
    messages = [{"role": "system", "content": system}] if system else []
    for role, content in zip(("user", "assistant", "user"), said, strict=True):
        messages.append({"role": role, "content": content})
    expected = pretrained.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert layout.request(turns).streams[-1] == expected
    assert tokenizer.decode([chat.end], skip_special_tokens=False) == "<|im_end|>"
    assert chat.system == system
    pad = layout.shift(layout.pad_a, 0)
    assert set(layout.request(turns).streams[0]) == {pad}


def test_a_system_prompt_alone_is_its_tokens(tmp_path):
    write_chat_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    chat = system_chat("Be kind.", tokenizer)
    assert (chat.first, chat.is_template) == (tuple(tokenizer.encode("Be kind.").ids), False)


@pytest.mark.parametrize(
    ("template", "system", "line"),
    [
        (None, None, "has no chat template"),
        (CHATML.replace("<|im_end|>", ""), None, "ends an answer with ordinary text"),
        (CHATML.replace("{{ message['role'] }}\n", "").replace("You are kind.", ""), None, None),
        (
            "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.content }}<|im_end|>x{% endfor %}",
            "Hi.",
            "no place",
        ),
        ("{{ raise_exception('only one turn') }}", None, "the template refuses a conversation: only one turn"),
        ("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}", None, "needs text before and after"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_line(tmp_path, template, system, line):
    pretrained = write_chat_tokenizer(tmp_path, template)
    if line is None:
        assert template_chat(pretrained, load_tokenizer(tmp_path), system).is_template
        return
    with pytest.raises(SetupError, match=line):
        template_chat(pretrained, load_tokenizer(tmp_path), system)
