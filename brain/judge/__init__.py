"""The judge: how well a trained world model tells possible from impossible futures, beside its floors and ceiling."""

from brain.judge.summary import headline
from brain.judge.verdict import judge

__all__ = ["headline", "judge"]
