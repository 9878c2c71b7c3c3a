"""The command line as a person meets it: one clear line for each mistake, exit code 2, and no traceback."""

import json
import os
import subprocess
import sys

import pytest
import typer
from support.command_line import anytalk

from anytalk.recipes.cli.main import app
from anytalk.recipes.shipped import find

PHASE = " ..."
"""End of what progress says of a phase that begins."""


def refused(*arguments):
    """Lines of a command that must be refused before it writes anything, without those of its progress."""
    done = anytalk(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.strip().splitlines() if not line.endswith(PHASE)]


def test_the_module_is_the_command_and_its_exit_code_is_the_process_s(tmp_path):
    command = [sys.executable, "-m", "anytalk.recipes", "check", tmp_path, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"anytalk: {tmp_path} holds no anytalk dataset\n"


def test_help_and_version_work_from_anywhere(tmp_path):
    assert anytalk("--version", cwd=tmp_path).stdout.startswith("anytalk 0.")
    listed = anytalk("--help", cwd=tmp_path).stdout
    assert all(command in listed for command in ("build", "check", "doctor", "codec", "bench"))
    assert "anytalk build quickstart" in anytalk("build", "--help", cwd=tmp_path).stdout


def test_a_shell_completes_commands(tmp_path):
    script = tmp_path / "complete.bash"
    shown = [sys.executable, "-m", "anytalk.recipes", "--show-completion", "bash"]
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(shown, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    script.write_text(done.stdout)
    # The script calls `anytalk`, wherever it is installed.
    command = tmp_path / "anytalk"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anytalk.recipes "$@"\n')
    command.chmod(0o755)
    ask = f"source {script}; COMP_WORDS=(anytalk bu); COMP_CWORD=1; _anytalk_completion anytalk; echo ${{COMPREPLY[@]}}"
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["build"], done.stderr


def test_the_command_line_starts_without_engines_ray_and_torch():
    code = "import sys, anytalk.recipes.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in loaded
    assert {"torch", "ray", "numpy", "pyarrow", "transformers"}.isdisjoint(loaded)


def commands(group=None, above=()):
    """Every command with its words."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


@pytest.mark.parametrize("words", [words for words, _ in commands() if words[0] != "bench"], ids=" ".join)
def test_every_command_answers_in_json_and_gives_an_example(words):
    [command] = [command for found, command in commands() if found == words]
    assert "--json" in [name for parameter in command.params for name in parameter.opts]
    assert f"anytalk {' '.join(words)}" in command.epilog


def test_a_misspelt_recipe_names_the_nearest():
    assert refused("build", "quikstart") == [
        "anytalk: no dataset recipe is called 'quikstart'; did you mean quickstart?"
    ]


def test_a_recipe_of_another_kind_is_one_line_with_the_command_that_takes_it(tmp_path):
    said = "anytalk: quickstart is a dataset recipe; use it with: anytalk build quickstart"
    assert refused("train", "quickstart", "--data", tmp_path) == [said]
    said = "anytalk: talker is a training recipe; use it with: anytalk train talker"
    assert refused("build", "talker") == [said]
    for name, kind, command in (("talker", "train", "build"), ("quickstart", "build", "train")):
        path = tmp_path / f"mine-{kind}.yaml"
        path.write_text(find(name, kind).read_text())
        [line] = refused(command, path)
        assert line.endswith(f"use it with: anytalk {kind} {path}")


@pytest.mark.parametrize("command", ["talk", "eval"])
def test_a_model_that_is_not_there_is_named(command, tmp_path):
    asked, hub = ([tmp_path], "") if command == "eval" else (["--text", "Hello?"], ", or OWNER/NAME on the hub")
    assert refused(command, tmp_path / "gone", *asked) == [
        f"anytalk: {tmp_path / 'gone'} does not exist; name a checkpoint or a training run{hub}"
    ]


def test_a_recording_that_is_not_there_is_named_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would raise
    [line] = refused("talk", tmp_path, tmp_path / "gone.wav")
    assert line.startswith(f"anytalk: {tmp_path / 'gone.wav'} does not exist")


def test_a_misspelt_key_and_a_value_out_of_range_come_together(tmp_path):
    lines = refused(
        "build", "quickstart", "--out", tmp_path / "out", "--set", "voices.varients=2", "--set", "audio.loudness_lufs=5"
    )
    assert "anytalk: recipe quickstart.yaml: unknown key voices.varients; did you mean variants?" in lines
    assert any("audio.loudness_lufs" in line and line.endswith("got 5") for line in lines)
    assert len(lines) == 2
    assert not (tmp_path / "out").exists()


def test_a_missing_source_is_named(tmp_path):
    lines = refused("build", "quickstart", "--out", tmp_path / "out", "--set", f"source={tmp_path / 'gone.jsonl'}")
    assert lines == [f"anytalk: source.path: {tmp_path / 'gone.jsonl'} does not exist"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("voices.answer=hibari:hart", "heart"),
        ("voices.answer=nosuch:voice", "nosuch:voice"),
        ("codec.model=/no/such/folder", "/no/such/folder"),
        ("features.model=/no/such/whisper", "/no/such/whisper"),
    ],
)
def test_a_missing_engine_is_named_before_the_first_row(tmp_path, setting, named):
    lines = refused("build", "quickstart", "--local", "--out", tmp_path / "out", "--set", setting)
    assert len(lines) == 1
    assert named in lines[0]


@pytest.mark.usefixtures("on_ray")
@pytest.mark.slow
def test_missing_engines_are_all_named_on_ray_too(tmp_path):
    settings = ["--set", "voices.answer=hibari:hart", "--set", "codec.model=/no/such/folder"]
    lines = refused("build", "quickstart", "--out", tmp_path / "out", *settings)
    assert len(lines) == 2
    assert "heart" in lines[0]
    assert "/no/such/folder" in lines[1]


def test_a_missing_extra_gives_the_line_that_installs_it(monkeypatch):
    from anytalk.synth.errors import MissingExtra
    from anytalk.synth.voice import catalogue, load_voice

    found = catalogue.importlib.util.find_spec
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda name: None if name == "piper" else found(name))
    with pytest.raises(MissingExtra, match=r'pip install "anytalk\[piper\]"'):
        load_voice("piper:joe")


def test_a_folder_that_is_no_dataset_is_named(tmp_path):
    assert refused("check", tmp_path) == [f"anytalk: {tmp_path} holds no anytalk dataset"]


def test_a_setting_without_a_value_is_refused():
    assert "must be KEY=VALUE" in refused("build", "quickstart", "--set", "voices")[0]


@pytest.mark.slow
def test_a_build_answers_in_json_and_check_finds_a_flipped_bit(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl([{"question": "Who?", "answer": "Me."}])))
    built = anytalk("build", recipe, "--out", tmp_path / "out", "--local", "--json")
    assert built.returncode == 0
    summary = json.loads(built.stdout)
    assert (summary["rows_accepted"], summary["complete"]) == (1, True)
    assert {"voices", "hearing", "judging", "codec"} == summary["seconds"].keys()
    assert anytalk("check", tmp_path / "out").returncode == 0
    [shard] = (tmp_path / "out" / "shards").iterdir()
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    checked = anytalk("check", tmp_path / "out", "--json")
    assert checked.returncode == 1
    assert "bytes have changed" in json.loads(checked.stdout)["problems"][0]


@pytest.mark.slow
def test_doctor_knows_every_engine_and_its_licence():
    done = anytalk("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert findings["hibari:heart"]["works"]
    assert findings["tiny.en"]["works"]
    assert "GPL" in findings["espeak:en-us"]["licence"]
    assert "AVX512-VNNI" in findings["int8"]["note"] or "FBGEMM" in findings["int8"]["note"]
    assert {finding["role"] for finding in findings.values()} == {"voice", "hearing", "codec", "judgement", "decoding"}
