"""Settings: one tree from flags, environment, `jc1.toml` and defaults, with where each value came from.

Knows names, types and precedence. Knows nothing about what the values do.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from jc1.engines.registry import AUTO, described, engines
from jc1.engines.settings import default_of
from jc1.errors import HomeUnusable, InvalidSettings
from jc1.fetch.addresses import networks

_PREFIX = "JC1_"
ModelLimit = Literal["requests_per_minute", "tokens_per_minute"]
DEFAULT_HOME = "~/.jc1"
URLS = ("database", "base_url", "redis_url", "tracking_uri", "otlp_endpoint", "transcriber_url", "synthesizer_url")
"""The settings that may hold a password inside an address."""
_SECRET = re.compile(
    r"(^|[^a-z])(password|passwd|passphrase|secret|token|credentials?|authorization|signature|sig|(api|access|private)_?key)"
    r"($|[^a-z])|(^|[^a-z])key$"
)


def _engine(name: str, **bounds: Any) -> Any:
    """Return the setting that is the engines' field of that name: its default and meaning stand there."""
    return Field(default_of(name), description=described(name), **bounds)


class Settings(BaseModel):
    """Every setting of JC1. `Settings.load` finds the values; `sources` tells where each came from.

    The same word is the environment variable (`JC1_MEMORY_K`), the key in `jc1.toml` (`memory_k`) and, where a command
    has one, the flag (`--port`). A flag wins over the environment, that over `./jc1.toml`, that over
    `$JC1_HOME/jc1.toml`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default_factory=lambda: _expanded(DEFAULT_HOME), description="Where JC1 keeps its state.")
    host: str = Field("127.0.0.1", description="Address to listen on; loopback only while there are no keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    trusted_proxies: str = Field("", description="Proxies whose X-Forwarded-For and -Proto hold: addresses, networks.")
    session_hours: float = Field(12, gt=0, le=8760, description="How long a browser stays signed in with a key.")
    engine: str = Field(AUTO, description="What runs the model.")
    model: str = _engine("model")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = _engine("dtype")
    speculation: str = _engine("speculation")
    tensor_parallel: int = _engine("tensor_parallel", ge=1, le=64)
    pipeline_parallel: int = _engine("pipeline_parallel", ge=1, le=64)
    gpu_memory_utilization: float = _engine("gpu_memory_utilization", gt=0, le=1)
    kv_cache_gib: float = _engine("kv_cache_gib", ge=0)
    kv_cache_dtype: str = _engine("kv_cache_dtype")
    max_model_len: int = _engine("max_model_len", ge=0)
    quantization: str = _engine("quantization")
    prefix_caching: bool = _engine("prefix_caching")
    guide_seconds: float = _engine("guide_seconds", gt=0, le=600)
    load_format: str = _engine("load_format")
    engine_args: dict[str, Any] = _engine("engine_args")
    ranks: int = _engine("ranks", ge=1, le=64)
    cpu_offload: bool = _engine("cpu_offload")
    base_url: str = _engine("base_url")
    api_key: SecretStr = Field(SecretStr(""), description=described("api_key"))
    database: str = Field("", description="SQLAlchemy URL; empty is SQLite under the home folder.")
    cache: str = Field("lmdb", description="lmdb, redis or off.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Where the Redis server is (redis).")
    cache_replies: int = Field(0, ge=0, description="Seconds to keep replies of deterministic requests; 0 keeps none.")
    vectors: str = Field("faiss", description="What holds the vectors of memory: faiss or chroma.")
    chroma_url: str = Field("", description="Chroma's server, http://HOST:PORT (chroma); empty is a folder in home.")
    embedder: str = Field("openvino", description="What embeds texts: openvino or sentence-transformers.")
    embedder_model: str = Field("", description="Folder or hub id for sentence-transformers; empty is the bundled one.")
    embedder_threads: int = Field(0, ge=0, description="Threads that embed (openvino); 0 takes every available core.")
    transcriber: str = Field("whisper", description="What hears: whisper, openai or none.")
    whisper_model: str = Field("", description="Folder or hub id of a Whisper (CTranslate2); empty is the bundled one.")
    whisper_device: Literal["cpu", "cuda"] = Field("cpu", description="What Whisper computes on.")
    transcriber_url: str = Field("", description="Base URL of an OpenAI-compatible server that hears (openai).")
    transcriber_model: str = Field("whisper-1", description="The model that hears there (openai).")
    transcriber_key: SecretStr = Field(SecretStr(""), description="The key of that server (openai).")
    synthesizer: str = Field("piper", description="What speaks: piper, openai or none.")
    piper_voice: str = Field(
        "", description="File of a Piper voice, NAME.onnx beside NAME.onnx.json; empty is the bundled one."
    )
    synthesizer_url: str = Field("", description="Base URL of an OpenAI-compatible server that speaks (openai).")
    synthesizer_model: str = Field("tts-1", description="The model that speaks there (openai).")
    synthesizer_voice: str = Field("alloy", description="The voice there where a request names none (openai).")
    synthesizer_key: SecretStr = Field(SecretStr(""), description="The key of that server (openai).")
    speech_threads: int = Field(0, ge=0, description="Threads that hear or speak; 0 takes every available core.")
    max_audio_bytes: int = Field(25_000_000, ge=1_000, description="Largest recording.")
    max_audio_seconds: float = Field(1800, gt=0, description="Longest recording.")
    max_speech_characters: int = Field(4096, ge=1, description="Longest text that is read out.")
    owner: str = Field("local", min_length=1, max_length=200, description="Owner where a request names none.")
    preset: str = Field("default", description="Preset where a request names none.")
    memory_k: int = Field(8, ge=0, le=100, description="Memories recalled for a question.")
    memory_window: int = Field(0, ge=0, le=5, description="Neighbouring turns recalled on either side.")
    memory_undo_days: int = Field(7, ge=0, le=3650, description="For how long what is forgotten can be restored.")
    memory_retention_days: int = Field(0, ge=0, le=36500, description="Age at which texts are forgotten; 0 is never.")
    tracking_uri: str = Field("", description="Where MLflow keeps sweeps; empty is SQLite under the home folder.")
    max_body_bytes: int = Field(1_000_000, ge=1_000, description="Largest request body.")
    max_document_bytes: int = Field(20_000_000, ge=1_000, description="Largest document to remember.")
    max_image_bytes: int = Field(20_000_000, ge=1_000, description="Largest file of a picture.")
    max_image_pixels: int = Field(50_000_000, ge=1_000, description="Most pixels of a picture, before it is scaled.")
    max_image_side: int = Field(2048, ge=64, description="Longest side of a picture; a greater one is scaled down.")
    max_images: int = Field(16, ge=1, description="Most pictures in a request, its history included.")
    ocr: Literal["auto", "on", "off"] = Field(
        "auto", description="Read the text in pictures: auto where the model sees none, on, or off."
    )
    fetch_urls: bool = Field(False, description="Fetch pictures that requests name by https URL.")
    fetch_networks: str = Field("", description="Networks that may be fetched from besides the internet.")
    max_import_bytes: int = Field(100_000_000, ge=1_000, description="Largest file of memories that is imported.")
    body_seconds: float = Field(30, gt=0, description="How long a request may take to come; large ones longer.")
    max_messages: int = Field(500, ge=1, description="Most messages in a request.")
    max_reply_tokens: int = Field(4096, ge=1, description="Most tokens of a reply that a request may ask for.")
    max_n: int = Field(8, ge=1, le=64, description="Most replies a request may ask for.")
    requests_per_minute: int = Field(0, ge=0, description="Requests a minute of a key that has no limit; 0 is any.")
    tokens_per_minute: int = Field(0, ge=0, description="Tokens a minute of a key that has no limit; 0 is any.")
    tokens_per_day: int = Field(0, ge=0, description="Tokens a day (UTC) of a key that has no limit; 0 is any.")
    concurrent: int = Field(0, ge=0, description="Replies at the same time to a key that has no limit; 0 is any.")
    model_limits: dict[str, dict[ModelLimit, PositiveInt]] = Field(
        default_factory=dict, description="Limits of a model for all keys together: requests_ and tokens_per_minute."
    )
    max_running: int = Field(256, ge=1, description="Most requests that run at the same time; others wait.")
    max_waiting: int = Field(128, ge=0, description="Most requests that wait; more are turned away.")
    traces: int = Field(500, ge=1, description="Recent traces kept in memory.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity logged.")
    log_format: Literal["text", "json"] = Field("text", description="What the log's records are: text or json.")
    otlp_endpoint: str = Field("", description="OpenTelemetry collector, http://HOST:4318; empty sends nothing.")
    otel_content: bool = Field(False, description="Send what was asked and replied to the collector too.")

    @field_validator("engine", "cache", "vectors", "embedder", "transcriber", "synthesizer")
    @classmethod
    def _registered(cls, value: str, info: ValidationInfo) -> str:
        from jc1.cache import CACHES
        from jc1.embedding import EMBEDDERS
        from jc1.memory import VECTORS
        from jc1.speech import SYNTHESIZERS, TRANSCRIBERS

        known = {
            "engine": (AUTO, *engines()),
            "cache": CACHES,
            "vectors": VECTORS,
            "embedder": EMBEDDERS,
            "transcriber": TRANSCRIBERS,
            "synthesizer": SYNTHESIZERS,
        }
        choices = known[str(info.field_name)]
        if value not in choices:
            raise ValueError(f"here there are {', '.join(choices)}")
        return value

    @field_validator("trusted_proxies", "fetch_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        networks(value)
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/\s]+", value):
            raise ValueError("write http://HOST:4318")
        return value.rstrip("/")

    @field_validator("engine_args", "model_limits", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @property
    def database_url(self) -> str:
        """Return the database's URL, filled in from the home folder where none is set."""
        return self.database or f"sqlite:///{self.home / 'jc1.db'}"

    @property
    def tracking(self) -> str:
        """Return MLflow's tracking URI, filled in from the home folder where none is set."""
        return self.tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    def shown(self) -> dict[str, Any]:
        """Return the settings as they may be shown: secrets are hidden, those inside URLs and `engine_args` too."""
        values = self.model_dump(mode="json")
        for name in URLS:
            values[name] = without_passwords(values[name])
        values["engine_args"] = _without_secrets(values["engine_args"])
        return values

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings in force. Raises `InvalidSettings` naming the value, its source and what is allowed."""
        return cls.load_with_sources(flags)[0]

    @classmethod
    def load_with_sources(cls, flags: Mapping[str, Any] | None = None) -> tuple[Settings, dict[str, str]]:
        """Return the settings in force and, by name, where each value came from."""
        given = {k: v for k, v in (flags or {}).items() if v is not None}
        environment = {
            name.removeprefix(_PREFIX).lower(): value for name, value in os.environ.items() if name.startswith(_PREFIX)
        }
        home = _expanded(given.get("home") or environment.get("home") or DEFAULT_HOME)
        values: dict[str, Any] = {}
        sources = dict.fromkeys(cls.model_fields, "default")
        for layer, source in (
            (_read_toml(home / "jc1.toml"), str(home / "jc1.toml")),
            (_read_toml(Path("jc1.toml")), "jc1.toml"),
            (environment, "environment"),
            (given, "flag"),
        ):
            for name, value in layer.items():
                if name not in cls.model_fields:
                    where = f"{_PREFIX}{name.upper()}" if source == "environment" else source
                    known = ", ".join(cls.model_fields)
                    raise InvalidSettings(f"Unknown setting {name!r} from {where}: the known ones are {known}.")
                values[name] = value
                sources[name] = f"{_PREFIX}{name.upper()}" if source == "environment" else source
        if "home" in values:
            values["home"] = _expanded(values["home"]).absolute()
        try:
            return cls.model_validate(values), sources
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            shown = "***" if is_secret(name) else repr(values.get(name))
            reason = first["msg"].removeprefix("Value error, ")
            raise InvalidSettings(f"{name} = {shown} (from {sources[name]}) is not usable: {reason}.") from None

    def prepare_home(self) -> Path:
        """Make the home folder and check that it can be written. Raises `HomeUnusable`."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.home / f".write-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise HomeUnusable(
                f"The home folder {self.home} cannot be used ({error.strerror}): make it writable, or set JC1_HOME."
            ) from None
        return self.home


def is_secret(name: str) -> bool:
    """Return whether what has such a name opens something: a password, a token, the key of an API."""
    return _SECRET.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()) is not None


def without_passwords(url: str) -> str:
    """Hide what a URL may not show: the password, or token, before its host, and secrets among its parameters."""
    hidden = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
    hidden = re.sub(r"(?i)^(https?://)[^:/@?#]+@", r"\1***@", hidden)
    return re.sub(
        r"(?<=[?&])([^=&#]+)=[^&#]*", lambda match: f"{match[1]}=***" if is_secret(match[1]) else match[0], hidden
    )


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "***" if is_secret(name) else _without_secrets(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return without_passwords(value) if isinstance(value, str) else value


def _expanded(path: str | Path) -> Path:
    """Return `path` with `~` filled in. Raises `HomeUnusable` where nobody's home is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise HomeUnusable(f"{path} means nothing here, as HOME is not set: set JC1_HOME to a folder.") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {error}.") from None
