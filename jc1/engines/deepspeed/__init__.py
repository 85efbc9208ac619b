"""DeepSpeed ZeRO-3, one process a rank."""
