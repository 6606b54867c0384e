"""Training and tensors: a published dataset goes in; checkpoints, gradients or a loss come out.

    settings.py          what can be chosen (no heavy import, so that a recipe can hold it)
    model_shape.py       the sizes of a model that its memory follows from
    examples.py          rows -> token ids; loading of tokenizer and model
    conversations.py     what rows of any dataset say: layouts, and columns that a user names
    turns.py             turns in any form; tool_calls.py: their calls
    tool_turns.py        calls as templates write them; said.py: all the text of turns
    completion_loss.py   padding, and the mean completion loss of each sample
    synthesizer.py scorer.py coder.py   the three trainings of the method over launch.py
    launch.py            a training in processes of its own, watched; elsewhere.py: on a cluster
    attempt.py           its processes, from their start to their end; smaller.py: with less memory
    children.py host_memory.py   their exit codes, and whether the kernel ended one
    signs.py             what they tell: they are here, have met, are saving
    out_of_memory.py full_disk.py   the errors that mean this
    stopping.py          what signals do to it; alone.py: one training at a time for an output
    worker.py            one of these processes; watchdog.py ends it with its launcher
    sft.py               supervised fine-tuning in this process, its checkpoints and its report
    fitting.py           the trainer; order.py: the order of the rows
    under_way.py         the folder of a training until it has its own name
    layout.py            the rows of a step, shared out; processes.py: which process this is
    sharded.py           weights shared out over processes (FSDP2); sharded_loading.py loads them
    optimizers.py        AdamW, AdamW of 8 bits, Adafactor
    seals.py             whether a saved state is whole
    resuming.py          the state from which a killed training goes on; state_keeper.py saves it
    train_log.py         a line per step; tail.py reads it while it grows
    gpus.py              the GPUs that are seen
    memory.py            the bytes of a training, by arithmetic
    gradients.py         per-sample LoRA gradients, sketched to a fixed dimension
    taps.py              the hooks that give the gradients of single samples
    gradient_batches.py  batches that fit into memory, halved where one does not
    gradient_memory.py   the bytes of a batch, by arithmetic
    optimizer_maps.py    what a gradient becomes before the sketch: itself, or Adam's step
    sketch.py            the sketch itself
    ranking.py           influence: cosines with reference sets, block by block
    warmup.py            the short LoRA training that a model without an adapter gets first
    heldout.py           mean loss on a held-out split
    fingerprints.py      what identifies a dataset or a model folder
    progress.py          what a person at a terminal sees of all that

This package knows tensors, models and Hugging Face datasets, and never the store.
"""
