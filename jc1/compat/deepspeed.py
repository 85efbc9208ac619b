"""Keeps DeepSpeed from compiling its shared-memory collectives at the first start on a CPU.

For DeepSpeed 0.19. They are built just in time, for minutes, and a build that was killed leaves a lock on which every
later one waits for ever. gloo, which takes their place, needs nothing. No issue is known.

Takes one operator away. How the ranks meet, and over what, is `jc1.engines.deepspeed`'s.
"""

from __future__ import annotations


def skip_shared_memory() -> None:
    """Have collectives on a CPU go through gloo; call it before `deepspeed.init_distributed`."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
