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

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from jc1.errors import HomeUnusable, InvalidSettings

EngineName = Literal["auto", "transformers", "vllm", "deepspeed", "openai", "echo"]
_PREFIX = "JC1_"
DEFAULT_HOME = "~/.jc1"
_SECRET = re.compile(
    r"(^|[^a-z])(password|passwd|passphrase|secret|token|credentials?|authorization|signature|sig|(api|access|private)_?key)"
    r"($|[^a-z])|(^|[^a-z])key$"
)


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
    engine: EngineName = Field("auto", description="What runs the model.")
    model: str = Field("jc1-tiny", description="A bundled name, a folder, or a Hugging Face hub id.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Precision of the weights.")
    speculation: str = Field("off", description="off, ngram:4, draft:MODEL:3, or another method of vLLM's.")
    tensor_parallel: int = Field(1, ge=1, le=64, description="Devices that share each layer (vllm).")
    pipeline_parallel: int = Field(1, ge=1, le=64, description="Devices that take the layers in turn (vllm).")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="Share of a GPU's memory to use (vllm).")
    kv_cache_gib: float = Field(0, ge=0, description="Size of the KV cache (vllm); 0 lets JC1 choose.")
    kv_cache_dtype: str = Field("auto", description="Precision of the KV cache, in vLLM's words.")
    max_model_len: int = Field(0, ge=0, description="Longest prompt and reply, in tokens (vllm); 0 is the model's own.")
    quantization: str = Field("", description="How the weights are quantized, in vLLM's words; empty is as they say.")
    prefix_caching: bool = Field(True, description="Keep the KV cache of prompts that begin alike (vllm).")
    load_format: str = Field("auto", description="How weights are read (vllm); dummy makes them up, for speed runs.")
    engine_args: dict[str, Any] = Field(default_factory=dict, description="More of vLLM's arguments, by its names.")
    ranks: int = Field(1, ge=1, le=64, description="Processes that share the weights (deepspeed).")
    cpu_offload: bool = Field(False, description="Keep the weights in main memory and fetch them by layer (deepspeed).")
    base_url: str = Field("", description="Where the OpenAI-compatible server is, up to /v1 (openai).")
    api_key: SecretStr = Field(SecretStr(""), description="Key for that server (openai).")
    database: str = Field("", description="SQLAlchemy URL; empty is SQLite under the home folder.")
    cache: str = Field("lmdb", description="lmdb, redis or off.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Where the Redis server is (redis).")
    cache_replies: int = Field(0, ge=0, description="Seconds to keep replies of deterministic requests; 0 keeps none.")
    vectors: Literal["faiss", "chroma"] = Field("faiss", description="What holds the vectors of memory.")
    chroma_url: str = Field("", description="Chroma's server, http://HOST:PORT (chroma); empty is a folder in home.")
    embedder: Literal["openvino", "sentence-transformers"] = Field("openvino", description="What embeds texts.")
    embedder_model: str = Field("", description="Folder or hub id for sentence-transformers; empty is the bundled one.")
    embedder_threads: int = Field(0, ge=0, description="Threads that embed (openvino); 0 takes every available core.")
    owner: str = Field("local", min_length=1, max_length=200, description="Owner where a request names none.")
    preset: str = Field("default", description="Preset where a request names none.")
    memory_k: int = Field(8, ge=0, le=100, description="Memories recalled for a question.")
    memory_window: int = Field(0, ge=0, le=5, description="Neighbouring turns recalled on either side.")
    memory_undo_days: int = Field(7, ge=0, le=3650, description="For how long what is forgotten can be restored.")
    memory_retention_days: int = Field(0, ge=0, le=36500, description="Age at which texts are forgotten; 0 is never.")
    tracking_uri: str = Field("", description="Where MLflow keeps sweeps; empty is SQLite under the home folder.")
    max_body_bytes: int = Field(1_000_000, ge=1_000, description="Largest request body.")
    max_document_bytes: int = Field(20_000_000, ge=1_000, description="Largest document to remember.")
    max_import_bytes: int = Field(100_000_000, ge=1_000, description="Largest file of memories that is imported.")
    max_messages: int = Field(500, ge=1, description="Most messages in a request.")
    max_tokens: int = Field(4096, ge=1, description="Most tokens a request may ask for.")
    max_n: int = Field(8, ge=1, le=64, description="Most replies a request may ask for.")
    traces: int = Field(500, ge=1, description="Recent traces kept in memory.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity logged.")

    @field_validator("engine_args", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @property
    def database_url(self) -> str:
        """The database's URL, filled in from the home folder where none is set."""
        return self.database or f"sqlite:///{self.home / 'jc1.db'}"

    @property
    def tracking(self) -> str:
        """MLflow's tracking URI, filled in from the home folder where none is set."""
        return self.tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    def shown(self) -> dict[str, Any]:
        """The settings as they may be shown: secrets are hidden, those inside URLs and `engine_args` too."""
        values = self.model_dump(mode="json")
        for name in ("database", "base_url", "redis_url", "tracking_uri"):
            values[name] = without_passwords(values[name])
        values["engine_args"] = _without_secrets(values["engine_args"])
        return values

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None) -> Settings:
        """The settings in force. Raises `InvalidSettings` naming the value, its source and what would be right."""
        return cls.load_with_sources(flags)[0]

    @classmethod
    def load_with_sources(cls, flags: Mapping[str, Any] | None = None) -> tuple[Settings, dict[str, str]]:
        """The settings in force and, by name, where each value came from."""
        given = {k: v for k, v in (flags or {}).items() if v is not None}
        environment = {
            name.removeprefix(_PREFIX).lower(): value for name, value in os.environ.items() if name.startswith(_PREFIX)
        }
        home = _expanded(given.get("home") or environment.get("home") or DEFAULT_HOME)
        values: dict[str, Any] = {}
        sources = dict.fromkeys(cls.model_fields, "default")
        for found, source in (
            (_read_toml(home / "jc1.toml"), str(home / "jc1.toml")),
            (_read_toml(Path("jc1.toml")), "jc1.toml"),
            (environment, "environment"),
            (given, "flag"),
        ):
            for name, value in found.items():
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
            shown = "***" if name == "api_key" else repr(values.get(name))
            raise InvalidSettings(f"{name} = {shown} (from {sources[name]}) is not usable: {first['msg']}.") from None

    def prepare_home(self) -> Path:
        """Make the home folder and prove that it can be written. Raises `HomeUnusable`."""
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
    """Whether what has such a name opens something: a password, a token, the key of an API."""
    return _SECRET.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()) is not None


def without_passwords(url: str) -> str:
    """A URL as it may be shown: the password, or token, before its host is hidden, and secrets among its parameters."""
    hidden = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
    hidden = re.sub(r"(?i)^(https?://)[^:/@?#]+@", r"\1***@", hidden)
    return re.sub(
        r"(?<=[?&])([^=&#]+)=[^&#]*", lambda found: f"{found[1]}=***" if is_secret(found[1]) else found[0], hidden
    )


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "***" if is_secret(name) else _without_secrets(own) for name, own in value.items()}
    if isinstance(value, list):
        return [_without_secrets(own) for own in value]
    return without_passwords(value) if isinstance(value, str) else value


def _expanded(path: str | Path) -> Path:
    """`path` with `~` filled in. Raises `HomeUnusable` where nobody's home is known."""
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
