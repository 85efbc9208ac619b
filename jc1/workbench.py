"""The workbench: what the settings describe, opened, and the pipeline over it.

Knows which parts there are, how they are made from settings, and in which order they start and close. Knows nothing
about the stages of a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

from jc1.access.guarded import GuardedPipeline
from jc1.access.idempotency import Idempotency
from jc1.access.usage import Usage
from jc1.cache.null import NullCache
from jc1.cache.replies import ReplyCache
from jc1.errors import EmbedderUnavailable, InvalidRequest
from jc1.pipeline import Pipeline
from jc1.request import MemoryMode, Resolved, check_limits, resolve
from jc1.requirements import UnmetRequirement, refusal, unmet
from jc1.vision.ocr import RapidOcr
from jc1.vision.pictures import Pictures
from jc1.vision.texts import Texts

if TYPE_CHECKING:
    from jc1.access.keys import Keys
    from jc1.embedding.base import Embedder
    from jc1.engines.base import Engine
    from jc1.memory.store import DatabaseMemory
    from jc1.presets import Preset, Presets
    from jc1.sessions import Sessions
    from jc1.settings import Settings
    from jc1.speech.base import Synthesizer, Transcriber
    from jc1.telemetry import Telemetry
    from jc1.trace import Trace
    from jc1.vision.ocr import Ocr
    from jc1.vision.reading import OcrMode


class Stores:
    """The parts that need no engine: memory, sessions, presets, keys, usage, idempotency, caches, telemetry, and what
    reads text in pictures.

    `resources` is what `close` closes after keys, usage, memory and `ocr`, in this order, by its `close()`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        memory: DatabaseMemory,
        sessions: Sessions,
        presets: Presets,
        keys: Keys,
        telemetry: Telemetry,
        usage: Usage | None = None,
        idempotency: Idempotency | None = None,
        embedder: Embedder | None = None,
        replies: ReplyCache | None = None,
        ocr: Ocr | None = None,
        resources: Sequence[Any] = (),
    ) -> None:
        self.settings = settings
        self.memory = memory
        self.sessions = sessions
        self.presets = presets
        self.keys = keys
        self.telemetry = telemetry
        self.usage = usage or Usage()
        self.idempotency = idempotency or Idempotency()
        self.replies = replies or ReplyCache(NullCache(), settings)
        self.ocr: Ocr = ocr or RapidOcr()
        self._embedder = embedder
        self._resources = tuple(resources)

    @property
    def embedder(self) -> Embedder:
        """Return what embeds texts. Raises `EmbedderUnavailable` where there is nothing."""
        if self._embedder is None:
            raise EmbedderUnavailable("Nothing here embeds texts: start JC1 with an embedder.")
        return self._embedder

    async def close(self) -> None:
        """Give back indexes, connections and files."""
        for resource in (self.keys, self.usage, self.memory, self.ocr, *self._resources):
            await asyncio.to_thread(resource.close)


class Workbench(Stores):
    """The stores, an engine, and the pipeline that serves requests with them.

    Use it as an async context manager, or call `start` and `close`.
    """

    def __init__(self, settings: Settings, *, engine: Engine, **stores: Any) -> None:
        super().__init__(settings, **stores)
        self.engine = engine
        self.pictures = Pictures(settings)
        self.texts = Texts(self.ocr)
        self.pipeline = Pipeline(self)
        self.guarded = GuardedPipeline(self)

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """Return the workbench that the settings describe, its stores opened and its engine not yet started."""
        from jc1.engines import create_engine

        settings = _prepared(settings)
        return cls(settings, engine=create_engine(settings), **_opened(settings))

    @staticmethod
    def stores(settings: Settings | None = None) -> Stores:
        """Return what the settings describe without the engine, which they need not be right for."""
        settings = _prepared(settings)
        return Stores(settings, **_opened(settings))

    @cached_property
    def ears(self) -> Transcriber:
        """Return what hears; it loads at first use. Raises `SpeechUnavailable` where nothing does."""
        from jc1.speech import create_transcriber

        return create_transcriber(self.settings)

    @cached_property
    def voice(self) -> Synthesizer:
        """Return what speaks; it loads at first use. Raises `SpeechUnavailable` where nothing does."""
        from jc1.speech import create_synthesizer

        return create_synthesizer(self.settings)

    async def start(self) -> None:
        """Start the engine while the embedder loads. Raises `EngineUnavailable` or `EmbedderUnavailable`."""
        loading = asyncio.to_thread(self._embedder.load) if self._embedder else asyncio.sleep(0)
        await asyncio.gather(self.engine.start(), loading)
        await asyncio.to_thread(self.replies.prepare, self.engine)

    async def close(self) -> None:
        """End the replies under way, finish what is being stored, then close the stores."""
        await self.engine.close()
        await self.pipeline.drain()
        await self.guarded.close()
        await asyncio.to_thread(self.texts.close)
        for part in ("ears", "voice"):
            if part in vars(self):  # it was used
                await asyncio.to_thread(vars(self)[part].close)
        await super().close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def begin_trace(self, owner: str | None = None, session: str | None = None) -> Trace:
        """Return the trace of a request that begins now, by the settings' owner where none is named."""
        return self.telemetry.begin(
            owner=owner or self.settings.owner, session=session, model=self.engine.model, engine=self.engine.name
        )

    def unmet(self, preset: Preset) -> dict[str, UnmetRequirement]:
        """Return what the running engine lacks for `preset`, by setting."""
        return unmet(preset, self.settings, self.engine)

    def resolve(
        self,
        preset: Preset,
        *,
        decoding: Mapping[str, Any] | None = None,
        system: str = "",
        memory: MemoryMode = "on",
        ocr: OcrMode | None = None,
    ) -> Resolved:
        """Return what holds for a request with this preset here: `jc1.request.resolve`, held against limits and engine.

        Raises:
            InvalidRequest: And its kin, whatever a request with these would raise.
        """
        if lacking := self.unmet(preset):
            raise InvalidRequest(refusal(preset, lacking), param="preset")
        resolved = resolve(preset, self.settings, decoding=decoding, system=system, memory=memory, ocr=ocr)
        check_limits(resolved.decoding, self.settings, preset, decoding or {})
        presets = preset.decoding.keys() - (decoding or {}).keys()
        self.engine.capabilities.check(resolved.decoding, self.engine.name, preset=preset.reference, presets=presets)
        return resolved


def _prepared(settings: Settings | None) -> Settings:
    from jc1.settings import Settings

    settings = settings or Settings.load()
    settings.prepare_home()
    return settings


def _opened(settings: Settings) -> dict[str, Any]:
    """Open the parts of `Stores`; return them by the names of its parameters."""
    from jc1.access.keys import Keys
    from jc1.cache import create_cache
    from jc1.database import open_database
    from jc1.database.idempotency import IdempotencyRepository
    from jc1.database.keys import KeyRepository
    from jc1.database.presets import PresetRepository
    from jc1.database.usage import UsageRepository
    from jc1.embedding import create_embedder
    from jc1.memory import open_memory
    from jc1.presets import Presets
    from jc1.sessions import Sessions
    from jc1.telemetry import Telemetry, open_exporter

    database = open_database(settings.database_url)
    cache = create_cache(settings)
    replies = ReplyCache(cache, settings)
    embedder = create_embedder(settings, cache)
    telemetry = Telemetry(keep=settings.traces, cache=cache, exporter=open_exporter(settings))
    keys = Keys(KeyRepository(database))
    return {
        "memory": open_memory(settings, database, embedder),
        "sessions": Sessions(database, cache=cache, on_delete=replies.forget),
        "presets": Presets(PresetRepository(database)),
        "keys": keys,
        "usage": Usage(UsageRepository(database)),
        "idempotency": Idempotency(IdempotencyRepository(database), partial(keys.signing_secret, "idempotency")),
        "telemetry": telemetry,
        "embedder": embedder,
        "replies": replies,
        "resources": (telemetry, embedder, cache),
    }
