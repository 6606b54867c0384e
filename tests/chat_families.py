"""Tokenizers and chat templates like those of eight model families, made on the spot.

In: a family's name. Out: a small tokenizer that divides text by the family's rules, with the
special tokens and the template that the family's instruction models (and two bases) have, shortened
where a part is about tools. No weights and no file of a family is needed.
"""

from dataclasses import dataclass
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TEXT = [
    "def add(a, b):\n    return a + b\n\n\n",
    "Write a function that returns the sum.\n\n",
    "[INST] if 1234 567 def add Write it ```python",
] * 20

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "llama3": (
        "{{- bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}"
        '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}'
        "{%- endif %}{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}"
        '{%- set messages = messages[1:] %}{%- else %}{%- set system_message = "" %}{%- endif %}'
        '{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}'
        '{{- "Cutting Knowledge Date: December 2023\\n" }}{{- "Today Date: " + date_string + "\\n\\n" }}'
        '{{- system_message }}{{- "<|eot_id|>" }}{%- for message in messages %}'
        "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}"
        "{%- endfor %}{%- if add_generation_prompt %}"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
    ),
    "qwen2.5": "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen.<|im_end|>\n{% endif %}"
    + CHATML,
    "qwen2.5-base": "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen.<|im_end|>\n{% endif %}"
    + CHATML,
    "qwen3": (
        "{%- set ns = namespace(last=messages|length - 1) %}{%- for message in messages[::-1] %}"
        "{%- if message.role == 'user' and ns.last == messages|length - 1 %}"
        "{%- set ns.last = (messages|length - 1) - loop.index0 %}{%- endif %}{%- endfor %}"
        "{%- for message in messages %}{%- if message.role != 'assistant' %}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- else %}"
        "{%- set content = message.content %}{%- set thoughts = '' %}{%- if '</think>' in content %}"
        "{%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
        "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
        "{%- if loop.index0 > ns.last and (loop.last or thoughts) %}"
        "{{- '<|im_start|>assistant\\n<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}"
        "{%- else %}{{- '<|im_start|>assistant\\n' + content }}{%- endif %}{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and "
        "enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    ),
    "deepseek-coder": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}"
        "{% elif message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n' }}"
        "{% else %}{{ '### Response:\n' + message['content'] + '\n<|EOT|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
    ),
    "smollm2": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
        "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
    ),
    "phi": (
        "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + "
        "'<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
        "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
    ),
}


@dataclass(frozen=True)
class Family:
    """How a family's tokenizer divides text, and what its special tokens are."""

    pattern: str | None
    eos: str
    bos: str | None
    special: tuple[str, ...]
    digits: bool = False
    added: tuple[str, ...] = ()


IM = ("<|im_start|>", "<|im_end|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
FAMILIES = {
    "llama3": Family(LLAMA_3, "<|eot_id|>", "<|begin_of_text|>", HEADERS),
    "qwen2.5": Family(QWEN, "<|im_end|>", None, ("<|endoftext|>", "<|im_start|>")),
    "qwen2.5-base": Family(QWEN, "<|endoftext|>", None, IM),
    "qwen3": Family(QWEN, "<|im_end|>", None, ("<|endoftext|>", "<|im_start|>"), added=("<think>", "</think>")),
    "mistral": Family(TEKKEN, "</s>", "<s>", ("[INST]", "[/INST]")),
    "deepseek-coder": Family(GPT_2, "<|EOT|>", "<|begin|>", (), digits=True),
    "smollm2": Family(GPT_2, "<|im_end|>", "<|im_start|>", ("<|endoftext|>",), digits=True),
    # a sentencepiece vocabulary: blanks are ▁, and unknown characters are bytes
    "gemma": Family(None, "<eos>", "<bos>", ("<start_of_turn>", "<end_of_turn>")),
    "phi": Family(None, "<|endoftext|>", "<s>", ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")),
}


@cache
def _divided(name: str) -> Tokenizer:
    family = FAMILIES[name]
    special = [token for token in (family.eos, family.bos, *family.special) if token]
    if family.pattern is None:
        return _of_bytes_and_blanks(special)
    made = Tokenizer(models.BPE())
    split = [pre_tokenizers.Digits(individual_digits=True)] if family.digits else []
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *split,
            pre_tokenizers.Split(Regex(family.pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXT, trainer)
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in family.added])
    return made


def _of_bytes_and_blanks(special: list[str]) -> Tokenizer:
    """As sentencepiece with byte fallback: no blank is put in front, as in Gemma's and Phi-3's."""
    signs = [chr(code) for code in range(33, 127)] + ["▁", "\n"]
    words = ["<unk>", *special, *(f"<0x{byte:02X}>" for byte in range(256)), *signs, "▁▁", "de", "def"]
    vocabulary = {word: place for place, word in enumerate(words)}
    merges = [("▁", "▁"), ("d", "e"), ("de", "f")]
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(special)
    return made


def tokenizer(name: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """A fresh tokenizer of the family, with the family's template or another."""
    family = FAMILIES[name]
    known = {"bos_token": family.bos} if family.bos else {}
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_divided(name).to_str()),
        eos_token=family.eos,
        pad_token=family.eos,
        **known,
    )
    made.chat_template = TEMPLATES[name] if template is None else template
    made.name_or_path = name
    return made
