"""CLIP's tokenizer: text to the token ids that both of SDXL's text encoders know.

It is the byte-pair encoding published with CLIP (Radford et al. 2021); the vocabulary lies beside this module.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Final

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

COMMA: Final = 267
"""The token of a comma that ends a word, as all do that stand apart from other marks."""

_SPECIAL = ["<|startoftext|>", "<|endoftext|>"]
_WORD = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def encode(text: str) -> list[int]:
    """Token ids in 0..49407, without beginning, end and padding. The text must be encodable: no lone surrogates."""
    ids: list[int] = _tokenizer().encode(text, add_special_tokens=False).ids
    return ids


def vocabulary() -> list[str]:
    """Every token as it is written; one that ends a word ends in `</w>`."""
    return list(_tokenizer().get_vocab(with_added_tokens=False))


@cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(_byte_pairs())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens(_SPECIAL)
    return tokenizer


def _byte_pairs() -> BPE:
    folder = files("gesso.prompt") / "clip_vocabulary"
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    _version, *merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    return BPE(
        vocab=vocabulary,
        merges=[(left, right) for left, right in map(str.split, merges)],
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        fuse_unk=False,
        unk_token="<|endoftext|>",
    )
