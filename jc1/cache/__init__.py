"""Caches: bytes under a namespaced key with a lifetime. A cache that is down is a slower JC1, never a broken one."""
