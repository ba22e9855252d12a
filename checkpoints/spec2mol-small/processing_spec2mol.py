"""Spectra and molecules in, model inputs out; token ids in, molecules out."""

import re
import string
from collections.abc import Mapping, Sequence

import numpy as np
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoTokenizer,
    BatchFeature,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from .characters_spec2mol import add_characters, from_characters
from .chemistry_spec2mol import from_selfies, selfies_dialect, set_special_tokens, to_selfies
from .feature_extraction_spec2mol import Spec2MolFeatureExtractor

IGNORED = -100
# A conversation of a tokenizer without chat template: its contents one after the other.
PLAIN_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


SMILES_CHARACTERS = string.ascii_letters + string.digits + "#$%()*+-./:=>@[\\]~"


def load_tokenizer(language_model: str, soft_tokens: bool = True, characters: bool = False):
    """The tokenizer of a language model, a Hub name or folder, with all special tokens named. One of text can write
    every SMILES: characters that it lacks, as T5's the backslash, are added.

    soft_tokens: there will be some, so that a tokenizer without mask token gets one to mark their places.
    characters: it shall have the tokens of `characters_spec2mol`.
    """
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    if "[=C]" in tokenizer.get_vocab():
        # SELFIES; beside a gpt_neo config AutoTokenizer makes a GPT-2 tokenizer of ChemGPT's tokenizer.json.
        return set_special_tokens(PreTrainedTokenizerFast.from_pretrained(language_model))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.unk_token is not None:
        pieces = tokenizer(list(SMILES_CHARACTERS), add_special_tokens=False)["input_ids"]
        unknown = [tokenizer.unk_token_id in ids for ids in pieces]
        tokenizer.add_tokens([character for character, u in zip(SMILES_CHARACTERS, unknown, strict=True) if u])
    if soft_tokens and tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    if characters:
        add_characters(tokenizer)
    return tokenizer


class Spec2MolProcessor(ProcessorMixin):
    """
    A language model of molecules reads [soft token] * num_query_tokens, start, SELFIES symbols, end; the SELFIES
    dialect is the one that the tokenizer's vocabulary is made of. A language model of text reads conversations.

    Args:
        feature_extractor: `Spec2MolFeatureExtractor`.
        tokenizer: with start, end, padding and mask tokens, for molecules one of SELFIES; the mask token marks the
            place of a soft token.
        num_query_tokens: soft tokens of the model, `config.num_soft_tokens`.
        is_encoder_decoder: of the model's config.
    """

    def __init__(
        self,
        feature_extractor,
        tokenizer,
        num_query_tokens: int = 32,
        is_encoder_decoder: bool = False,
        chat_template=None,
    ):
        self.num_query_tokens = num_query_tokens
        self.is_encoder_decoder = is_encoder_decoder
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)

    @classmethod
    def from_pretrained_parts(
        cls, encoder: str | None, language_model: str, num_query_tokens: int = 32, characters: bool = False
    ) -> "Spec2MolProcessor":
        """The processor of `Spec2MolForConditionalGeneration.from_pretrained_parts` with the same arguments;
        `characters` if it has an experts_config."""
        fields = {} if encoder is None else AutoFeatureExtractor.from_pretrained(encoder).to_dict()
        return cls(
            Spec2MolFeatureExtractor.from_dict(fields | {"conditions": True}),
            load_tokenizer(language_model, soft_tokens=encoder is not None, characters=characters),
            num_query_tokens,
            is_encoder_decoder=AutoConfig.from_pretrained(language_model).is_encoder_decoder,
        )

    @property
    def dialect(self) -> str:
        return selfies_dialect(self.tokenizer)

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, "input_ids", "attention_mask"]

    def __call__(
        self,
        spectra=None,
        molecules: str | Sequence | None = None,
        text: str | Sequence[str] | None = None,
        return_tensors: str | None = None,
        **kwargs,
    ) -> BatchFeature:
        """
        The queries are spectra; or molecules, if the feature extractor reads these (`feature_extractor.molecules`).
        The answers are text, or for spectra also molecules, which become SELFIES.

        Args:
            spectra: what `Spec2MolFeatureExtractor` takes.
            molecules: SMILES; as queries, whatever `molecules_spec2mol` reads.
            text: in the words of the tokenizer.

        Returns:
            The tensors of the queries, and
            - for queries alone, the prompt for `generate`: input_ids, attention_mask `(batch, num_query_tokens + 1)`;
            - for queries and answers, training examples: input_ids, attention_mask and labels `(batch, length)`, the
              answer ended by the end token, -100 on prompt and padding;
            - for answers alone, molecule_ids and molecule_mask `(batch, length)`, for comparing and matching.

        Raises:
            ValueError: neither given, different numbers of both, or a molecule that SELFIES cannot write.
        """
        molecules = [molecules] if isinstance(molecules, str) else molecules
        reads_molecules = self.feature_extractor.molecules is not None
        if reads_molecules and spectra is not None:
            raise ValueError("this model reads molecules, not spectra")
        queries, named = (molecules, None) if reads_molecules else (spectra, molecules)
        if text is not None and named is not None:
            raise ValueError("the answers are molecules or text, not both")
        if text is not None:
            targets = [self.encode_text(line) for line in ([text] if isinstance(text, str) else text)]
        else:
            targets = None if named is None else [self.encode_molecule(smiles) for smiles in named]
        if queries is None and targets is None:
            raise ValueError("give spectra, molecules or both")

        data = {} if queries is None else dict(self.feature_extractor(queries, **kwargs))
        if queries is None:
            data["molecule_ids"], data["molecule_mask"] = self.pad(targets)
            return BatchFeature(data, tensor_type=return_tensors)

        batch = len(next(iter(data.values())))
        if targets is None:
            data["input_ids"], data["attention_mask"] = self.pad([self.prompt] * batch)
        else:
            if len(targets) != batch:
                kind = "molecules" if text is None else "texts"
                raise ValueError(f"{batch} {'molecules' if reads_molecules else 'spectra'} but {len(targets)} {kind}")
            data |= self.training_text(targets)
        return BatchFeature(data, tensor_type=return_tensors)

    def training_text(self, targets: Sequence[Sequence[int]], soft_tokens: bool = True) -> dict[str, np.ndarray]:
        """Targets of `encode_molecule`, behind the places of the soft tokens or alone -> input_ids, attention_mask and
        labels, padded on the right; the loss is on what follows the start token."""
        prefix = self._soft_tokens if soft_tokens else []
        ids, mask = self.pad([[*prefix, *target] for target in targets])
        labels = np.where(mask == 1, ids, IGNORED)
        labels[:, : len(prefix) + 1] = IGNORED
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def conversation_text(self, conversations: Sequence[Sequence[dict[str, str]]]) -> dict[str, np.ndarray]:
        """Conversations, each a list of {role, content}, written by the chat template (the processor's own, else the
        tokenizer's) -> input_ids, attention_mask and labels, padded on the right.

        The loss is on the answers: of an encoder-decoder on the last message, which its decoder writes; else on all
        that the template puts between {% generation %} and {% endgeneration %}.

        Raises:
            ValueError: a conversation in which the template marks no answer.
        """
        if self.is_encoder_decoder:
            answers = self.tokenizer([conversation[-1]["content"] for conversation in conversations])["input_ids"]
            labels, kept = self.pad(answers)
            return self.conversation_prompt(conversations) | {"labels": np.where(kept == 1, labels, IGNORED)}
        written = self.tokenizer.apply_chat_template(
            conversations, chat_template=self.chat_template, return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = self.pad(written["input_ids"])
        answers = np.zeros_like(mask)
        for row, marks in enumerate(written["assistant_masks"]):
            answers[row, : len(marks)] = marks
        if not answers.any(1).all():
            raise ValueError("the chat template marks no answer: it needs {% generation %} … {% endgeneration %}")
        return {"input_ids": ids, "attention_mask": mask, "labels": np.where(answers == 1, ids, IGNORED)}

    def conversation_prompt(self, conversations: Sequence[Sequence[dict[str, str]]]) -> dict[str, np.ndarray]:
        """What `generate` reads to answer in place of the last message of each conversation: input_ids and
        attention_mask, padded on the left; of an encoder-decoder on the right."""
        questions = [conversation[:-1] for conversation in conversations]
        if self.is_encoder_decoder:
            template = self.chat_template or self.tokenizer.chat_template or PLAIN_TEMPLATE
            texts = self.tokenizer.apply_chat_template(questions, chat_template=template, tokenize=False)
            rows = self.tokenizer(texts)["input_ids"]
        else:
            rows = self.tokenizer.apply_chat_template(
                questions, chat_template=self.chat_template, add_generation_prompt=True, return_dict=True
            )["input_ids"]
        ids, mask = self.pad(rows, left=not self.is_encoder_decoder)
        return {"input_ids": ids, "attention_mask": mask}

    def is_query(self, row: Mapping) -> bool:
        """Whether the encoder reads a row of data: one with a spectrum; where it reads molecules, any. Of rows with
        `messages`, those that have a place for soft tokens."""
        if self.feature_extractor.molecules is None and row.get("mzs") is None:
            return False
        return "messages" not in row or any(self.soft_tokens in message["content"] for message in row["messages"])

    @property
    def soft_tokens(self) -> str:
        """The text of the soft tokens' places, for a conversation."""
        return self.tokenizer.mask_token * self.num_query_tokens

    @property
    def prompt(self) -> list[int]:
        """Places of the soft tokens, and the start."""
        return [*self._soft_tokens, self._start]

    @property
    def _soft_tokens(self) -> list[int]:
        return [self.tokenizer.mask_token_id] * self.num_query_tokens

    def encode_molecule(self, smiles: str) -> list[int]:
        """SMILES -> [start, symbols, end]. Raises ValueError if SELFIES cannot write it or a symbol is not in the
        vocabulary."""
        selfies = to_selfies(smiles, dialect=self.dialect)
        if selfies is None:
            raise ValueError(f"no SELFIES for {smiles!r}: not a molecule that RDKit and SELFIES can read")
        symbols = self.tokenizer(selfies, add_special_tokens=False)["input_ids"]
        if self.tokenizer.unk_token_id in symbols:
            raise ValueError(f"no tokens for {smiles!r}: it has atoms that the vocabulary lacks")
        return [self.tokenizer.bos_token_id, *symbols, self.tokenizer.eos_token_id]

    def encode_text(self, text: str) -> list[int]:
        """Text -> [start, tokens, end]."""
        tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [self._start, *tokens, self.tokenizer.eos_token_id]

    @property
    def _start(self) -> int:
        """Tokenizers of text may have no start token; their language models know the end of another text instead."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return eos if bos is None else bos

    def decode_molecules(self, ids) -> list[str | None]:
        """Generated ids `(batch, length)`, with or without prompt -> canonical SMILES, None where there is none."""
        if not len(ids):  # transformers decodes no rows to one empty text.
            return []
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        # An unknown symbol would be skipped like a special one, and the rest be another molecule.
        unknown = [self.tokenizer.unk_token_id in row for row in (ids.tolist() if hasattr(ids, "tolist") else ids)]
        return [None if u else from_selfies(t, dialect=self.dialect) for u, t in zip(unknown, texts, strict=True)]

    def decode_text(self, ids) -> list[str]:
        """Generated ids `(batch, length)`, without the prompt -> texts, with sequences in the place of their
        characters (`characters_spec2mol`). Tokenizers put a space behind characters that were added to them; no text
        has one behind a backslash."""
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [re.sub(r"\\ +", r"\\", from_characters(text)).strip() for text in texts]

    def pad(self, rows: Sequence[Sequence[int]], left: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Token ids -> ids and mask `(batch, length)`, padded on the right or on the left."""
        longest = max((len(row) for row in rows), default=0)
        ids = np.full((len(rows), longest), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for i, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(len(row))
            ids[i, place], mask[i, place] = row, 1
        return ids, mask


__all__ = ["SMILES_CHARACTERS", "Spec2MolProcessor", "load_tokenizer"]
