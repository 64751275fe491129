"""Give barrage mutated files and hold it to its word: no traceback, no hang, no row that changes unseen, bounded memory.

    python -m benchmarks.fuzz --count 1000 [--start 1] [--kind shard] [--processes 2]

- `kind`: what a kind of input is, and what may become of a mutant
- `changes`: bytes, chunks and values that are changed at random
- `shards`, `images`, `indices`, `yamls`, `stores`: the kinds; `tars` is the reader that shards are compared with
- `kinds`: the table of the kinds
- `pool`: processes that try mutants; one that dies, hangs or grows is a fault, and is replaced

A mutant is refused in one line (BadInput), or its faults are rows with a reason, or it gives what the sound file gave, or,
where its content truly is another, what an independent reader reads in it. Whatever it gives, it gives twice.
"""
