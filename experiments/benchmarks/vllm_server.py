"""vLLM's own server, as it comes, for a benchmark to stand beside JC1's.

    python -m experiments.benchmarks.vllm_server --model FOLDER --port 8001 [vLLM's own options]

Knows what must be patched of vLLM before it can be imported here, and nothing of what it serves.
"""

from __future__ import annotations

from jc1.compat.vllm import in_vllm

if __name__ == "__main__":
    in_vllm()
    from vllm.entrypoints.launchers.api_server.entry import main

    main()
