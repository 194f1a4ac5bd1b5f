"""Rewards of your own. Each gets the answers of a batch, and every column of the data by its name.

It returns a number for each answer, or None where it does not apply.
"""


def brief(completions, max_words=14, **columns):
    """1 where an answer has at least one word and at most `max_words`."""
    texts = [completion[-1]["content"] for completion in completions]
    return [float(1 <= len(text.split()) <= max_words) for text in texts]
