"""Real but tiny models and their tokenizer, made on the spot.

In: a folder. Out: the folder of a base model that `from_pretrained` loads: hidden size 32, 2
layers, a byte-level BPE of about 330 tokens. `tiny_qwen` has a ChatML template; `tiny_llama` has
none, and a begin-of-text token, like DeepSeek-Coder.
"""

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tests.chat_families import QWEN

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
TEXT = [
    "def add(a, b):\n    return a + b\n\n\n",
    "Write a function that returns the sum of two numbers.\n\n",
] * 20
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def tiny_qwen(folder: Path, seed: int = 0) -> str:
    """A Qwen2 with a chat template whose turns end in <|im_end|> and a newline."""
    tokenizer = _tokenizer(bos=False)
    tokenizer.chat_template = CHATML
    torch.manual_seed(seed)
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), **SHAPE, **ids))
    return _save(folder, model, tokenizer)


def tiny_llama(folder: Path, seed: int = 0) -> str:
    """A Llama whose tokenizer has no chat template and no pad token and puts <s> first."""
    tokenizer = _tokenizer(bos=True)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SHAPE, bos_token_id=1, eos_token_id=2))
    return _save(folder, model, tokenizer)


def tiny_sentences(folder: Path, words: str) -> str:
    """A model of sentences that knows a few words. Each has a vector of its own, and a sentence is
    about their mean, in whatever order they stand.
    """
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(words.lower().split()))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=0, num_attention_heads=1, intermediate_size=8
    )
    model = BertModel(shape, add_pooling_layer=False)
    torch.nn.init.normal_(model.embeddings.word_embeddings.weight)
    model.save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


def _save(folder: Path, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _tokenizer(bos: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    if not bos:
        # the rules that Qwen's files have, and that its class has too
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<|im_end|>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
