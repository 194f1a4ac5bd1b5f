"""The initial policy of the experiment: a tiny model that imitates `task.answer`.

    python -m experiments.constraint_neglect.warm_start

Writes runs/constraint_neglect/model, in two minutes on a core. The share of sealed answers falls
from all to `--sealed` while it learns how to seal, and stays there. Processors and numbers of
threads round differently, and 1,500 updates make another policy of that: only runs that begin with
one file can be compared.
"""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.constraint_neglect.task import answer, prompts
from tests.tiny import save_tiny_model

BATCH, UPDATES, RATE = 64, 1500, 5e-3
MODEL = Path("runs/constraint_neglect/model")


def make_batch(
    tokenizer: Any, sealed: float, chance: random.Random
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, T] and targets, -100 where nothing is to be learned."""
    rows, targets = [], []
    for row in prompts(BATCH, seed=chance.randrange(10**9)):
        chat = [{"role": "user", "content": row["prompt"]}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = tokenizer(answer(row["seal"], sealed, chance), add_special_tokens=False)["input_ids"]
        ids = [*ids, tokenizer.eos_token_id]
        rows.append(torch.tensor(prompt + ids))
        targets.append(torch.tensor([-100] * len(prompt) + ids))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True), pad(targets, batch_first=True, padding_value=-100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=MODEL)
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--sealed", type=float, default=0.4, help="share of sealed answers")
    options = parser.parse_args()
    folder = save_tiny_model(options.output.with_name(options.output.name + ".partial"), seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, options.updates)
    chance = random.Random(0)
    torch.manual_seed(0)
    for update in range(1, options.updates + 1):
        learning = max(0.0, 1 - 2 * update / options.updates)  # from 1 to 0, halfway through
        share = options.sealed + (1 - options.sealed) * learning
        ids, targets = make_batch(tokenizer, share, chance)
        loss = model(input_ids=ids, labels=targets).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if update % 100 == 0:
            print(f"update {update}: loss {loss.item():.3f}", flush=True)
    model.save_pretrained(folder)
    shutil.rmtree(options.output, ignore_errors=True)
    folder.rename(options.output)  # only a whole one is taken for the policy
    print(f"model {options.output}")


if __name__ == "__main__":
    main()
