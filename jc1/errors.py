"""Every error JC1 raises on purpose, in one tree.

    Jc1Error                       code                     HTTP
    ├── InvalidRequest             invalid_request          400
    │   ├── EmptyMessage           empty_message            400
    │   ├── UnknownRole            unknown_role             400
    │   ├── InvalidDecoding        invalid_decoding         400
    │   ├── UnsupportedDecoding    unsupported_decoding     400
    │   ├── PromptTooLong          context_length_exceeded  400
    │   ├── DamagedDocument        damaged_document         400
    │   ├── EmptyDocument          empty_document           400
    │   ├── EncryptedDocument      encrypted_document       400
    │   ├── UnsupportedDocument    unsupported_document     415
    │   ├── DamagedImage           damaged_image            400
    │   ├── UnsupportedImage       unsupported_image        415
    │   ├── CannotSee              cannot_see               400
    │   ├── AddressRefused         address_refused          400
    │   ├── FetchFailed            fetch_failed             400
    │   ├── DamagedAudio           damaged_audio            400
    │   ├── NoSpeech               no_speech                400
    │   ├── NothingToSay           nothing_to_say           400
    │   ├── UnknownLanguage        unknown_language         400
    │   ├── CannotTranslate        cannot_translate         400
    │   ├── UnknownVoice           unknown_voice            400
    │   ├── AudioTooLong           audio_too_long           413
    │   ├── SpeechTooLong          speech_too_long          413
    │   ├── UnsupportedAudio       unsupported_audio        415
    │   ├── InvalidSuite           invalid_suite            400
    │   ├── InvalidSpace           invalid_space            400
    │   ├── RequestTooLarge        request_too_large        413
    │   └── IdempotencyKeyReused   idempotency_key_reused   422
    ├── NotFound                   not_found                404
    │   ├── UnknownModel           model_not_found          404
    │   ├── UnknownPreset          preset_not_found         404
    │   ├── UnknownRecord          record_not_found         404
    │   ├── NoPicture              picture_not_found        404
    │   ├── UnknownSession         session_not_found        404
    │   ├── UnknownKey             key_not_found            404
    │   ├── UnknownRun             run_not_found            404
    │   └── UnknownTrace           trace_not_found          404
    ├── Unauthenticated            invalid_api_key          401
    ├── Refused                    refused                  403
    │   ├── HostRefused            host_refused             403
    │   └── OriginRefused          origin_refused           403
    ├── RateLimited                rate_limit_exceeded      429
    ├── Conflict                   conflict                 409
    │   ├── NotSignificant         not_significant          409
    │   └── TextNotKept            text_not_kept            409
    ├── InvalidSettings            invalid_settings         500
    │   ├── PortInUse              port_in_use              500
    │   ├── HomeUnusable           home_unusable            500
    │   └── PackageMissing         package_missing          500
    └── Unavailable                unavailable              503
        ├── Overloaded             overloaded               503
        ├── EngineUnavailable      engine_unavailable       503
        ├── EngineFailed           engine_failed            500
        ├── EmbedderUnavailable    embedder_unavailable     503
        ├── SpeechUnavailable      speech_unavailable       503
        ├── SpeechFailed           speech_failed            500
        ├── OcrUnavailable         ocr_unavailable          503
        ├── VectorsUnavailable     vectors_unavailable      503
        ├── TrackingUnavailable    tracking_unavailable     503
        ├── DatabaseUnavailable    database_unavailable     503
        ├── DatabaseCorrupt        database_corrupt         500
        └── StorageFull            storage_full             507

A code never changes once released. A message says what happened and what to do next, and holds nothing secret: it is
shown to clients as it is, while the text of a foreign exception never is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Jc1Error(Exception):
    """Base of all of JC1's own errors: a stable `code`, an HTTP `status` and a message that names the next step."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The field of the request that is to blame, where one is."""
        self.headers = dict(headers or {})
        """What an HTTP response with it says besides, such as `Retry-After`."""


class InvalidRequest(Jc1Error):
    """The request cannot be served as it is written."""

    code = "invalid_request"
    status = 400


class EmptyMessage(InvalidRequest):
    """The last message has no content."""

    code = "empty_message"

    def __init__(self) -> None:
        super().__init__("The last message is empty: send a user message with some text.", param="messages")


class UnknownRole(InvalidRequest):
    """A message has a role that is not one of the four."""

    code = "unknown_role"

    def __init__(self, role: str) -> None:
        super().__init__(f"Unknown role {role!r}: use 'system', 'user', 'assistant' or 'tool'.", param="messages")


class InvalidDecoding(InvalidRequest):
    """A decoding field is outside its range."""

    code = "invalid_decoding"


class UnsupportedDecoding(InvalidRequest):
    """The running engine cannot honour a field, so it refuses rather than dropping it."""

    code = "unsupported_decoding"

    def __init__(self, field: str, engine: str, advice: str, *, preset: str | None = None) -> None:
        """Make one that blames the field or, where the request did not send it, the preset that sets it."""
        if preset is not None:
            advice = f"send {field!r} yourself, choose another preset, or another engine."
        sets = "" if preset is None else f", which the preset {preset} sets"
        super().__init__(
            f"The {engine} engine cannot honour {field!r}{sets}: {advice}", param=field if preset is None else "preset"
        )
        self.field = field
        self.engine = engine


class PromptTooLong(InvalidRequest):
    """The system prompt and the new message alone exceed what the model can read."""

    code = "context_length_exceeded"

    def __init__(self, *, tokens: int, budget: int) -> None:
        # Clients tell this error from others by the words of other servers: LiteLLM and LangChain among them.
        super().__init__(
            f"The prompt is too long, this model's maximum context length is exceeded: the message takes {tokens} "
            f"tokens and {budget} are available. Shorten it, or ask for fewer max_tokens.",
            param="messages",
        )
        self.tokens = tokens
        self.budget = budget


class DamagedDocument(InvalidRequest):
    """A document's file breaks the rules of its format."""

    code = "damaged_document"


class EmptyDocument(InvalidRequest):
    """A document has no text, or only pictures of it."""

    code = "empty_document"


class EncryptedDocument(InvalidRequest):
    """A document opens with a password only."""

    code = "encrypted_document"


class UnsupportedDocument(InvalidRequest):
    """A document's format or encoding is none that is read."""

    code = "unsupported_document"
    status = 415


class DamagedImage(InvalidRequest):
    """A picture breaks the rules of its format, or ends too early."""

    code = "damaged_image"


class UnsupportedImage(InvalidRequest):
    """A picture's format is none that is read, or it is animated."""

    code = "unsupported_image"
    status = 415


class CannotSee(InvalidRequest):
    """A picture was sent to a model that reads text alone."""

    code = "cannot_see"


class AddressRefused(InvalidRequest):
    """A URL is not fetched: by setting, or for its scheme, its host or where that lies."""

    code = "address_refused"


class FetchFailed(InvalidRequest):
    """What a URL leads to could not be fetched."""

    code = "fetch_failed"


class DamagedAudio(InvalidRequest):
    """A recording breaks the rules of its format, or holds no sound."""

    code = "damaged_audio"


class NoSpeech(InvalidRequest):
    """Nobody speaks in a recording that was to be answered."""

    code = "no_speech"

    def __init__(self) -> None:
        super().__init__("Nobody speaks in this recording: speak nearer to the microphone, or write.", param="audio")


class NothingToSay(InvalidRequest):
    """A text that was to be read out has nothing that can be said."""

    code = "nothing_to_say"


class UnknownLanguage(InvalidRequest):
    """The transcriber does not understand the language."""

    code = "unknown_language"


class CannotTranslate(InvalidRequest):
    """The transcriber writes what is spoken, and no other language."""

    code = "cannot_translate"


class UnknownVoice(InvalidRequest):
    """The synthesizer has no such voice."""

    code = "unknown_voice"


class AudioTooLong(InvalidRequest):
    """A recording is longer than the settings allow."""

    code = "audio_too_long"
    status = 413


class SpeechTooLong(InvalidRequest):
    """A text is longer than the settings allow to be read out."""

    code = "speech_too_long"
    status = 413


class UnsupportedAudio(InvalidRequest):
    """A recording's format is none that is read, or one is asked for that is not written."""

    code = "unsupported_audio"
    status = 415


class InvalidSuite(InvalidRequest):
    """A file of prompts cannot be used; the message names file, line and reason."""

    code = "invalid_suite"


class InvalidSpace(InvalidRequest):
    """The settings that a sweep is to try are not described well."""

    code = "invalid_space"


class RequestTooLarge(InvalidRequest):
    """The request exceeds a cap on its size."""

    code = "request_too_large"
    status = 413


class IdempotencyKeyReused(InvalidRequest):
    """The idempotency key came with another request before."""

    code = "idempotency_key_reused"
    status = 422

    def __init__(self, header: str) -> None:
        super().__init__(f"This {header} came with another request: send a new one with each request.", param=header)


class NotFound(Jc1Error):
    """Something was asked for by a name that is not known."""

    code = "not_found"
    status = 404


class UnknownModel(NotFound):
    """No such model, bundled, on disk or served."""

    code = "model_not_found"


class UnknownPreset(NotFound):
    """No preset or alias of that name."""

    code = "preset_not_found"


class UnknownRecord(NotFound):
    """The owner has no record with that id."""

    code = "record_not_found"

    def __init__(self, record_id: str) -> None:
        super().__init__(f"No memory {record_id!r}: list the memories to see their ids.")


class NoPicture(NotFound):
    """A record tells of no picture."""

    code = "picture_not_found"

    def __init__(self, record_id: str) -> None:
        super().__init__(f"The memory {record_id!r} tells of no picture: those that do have 'picture' set.")


class UnknownSession(NotFound):
    """The owner has no session with that id."""

    code = "session_not_found"

    def __init__(self, session: str) -> None:
        super().__init__(f"No session {session!r}: list the sessions to see their ids.")


class UnknownKey(NotFound):
    """No key with that id."""

    code = "key_not_found"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"No key {key_id!r}: list the keys to see their ids.")


class UnknownRun(NotFound):
    """No sweep and no MLflow run of that name or id."""

    code = "run_not_found"


class UnknownTrace(NotFound):
    """The trace is not, or no longer, in the ring of recent traces."""

    code = "trace_not_found"

    def __init__(self, trace_id: str) -> None:
        super().__init__(f"No trace {trace_id!r}: only the most recent traces are kept.")


class Unauthenticated(Jc1Error):
    """The caller shows no key, or one that is unknown, expired or revoked."""

    code = "invalid_api_key"
    status = 401

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Refused(Jc1Error):
    """The caller may not do this."""

    code = "refused"
    status = 403


class HostRefused(Refused):
    """The Host header names a machine that this server does not answer for."""

    code = "host_refused"


class OriginRefused(Refused):
    """A web page of another origin sent the request."""

    code = "origin_refused"


class RateLimited(Jc1Error):
    """The caller has used up a limit of its own; the header `retry-after` says for how long."""

    code = "rate_limit_exceeded"
    status = 429


class Conflict(Jc1Error):
    """The request contradicts what is there, for instance a name that is taken."""

    code = "conflict"
    status = 409


class NotSignificant(Conflict):
    """Settings are to be promoted that were not shown to be better."""

    code = "not_significant"


class TextNotKept(Conflict):
    """A request is to be asked again whose text is not stored, or is forgotten."""

    code = "text_not_kept"

    def __init__(self, trace_id: str) -> None:
        super().__init__(
            f"The text of {trace_id!r} is not kept: only what went into a session or memory can be asked again."
        )


class InvalidSettings(Jc1Error):
    """A setting is wrong; JC1 does not start."""

    code = "invalid_settings"


class PortInUse(InvalidSettings):
    """Another program listens on the port."""

    code = "port_in_use"

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is in use: stop the other program, or choose another with --port.")


class HomeUnusable(InvalidSettings):
    """JC1_HOME cannot be created or written."""

    code = "home_unusable"


class PackageMissing(InvalidSettings):
    """A command needs packages that are not installed."""

    code = "package_missing"


class Unavailable(Jc1Error):
    """A part that JC1 needs is not there at the moment."""

    code = "unavailable"
    status = 503


class Overloaded(Unavailable):
    """More requests wait than the settings allow; the header `retry-after` says when to come back."""

    code = "overloaded"


class EngineUnavailable(Unavailable):
    """The engine cannot be started or reached, or is closing."""

    code = "engine_unavailable"


class EngineFailed(Unavailable):
    """The engine broke while it generated."""

    code = "engine_failed"
    status = 500


class EmbedderUnavailable(Unavailable):
    """The embedding model is missing or is not the one that was expected."""

    code = "embedder_unavailable"


class SpeechUnavailable(Unavailable):
    """What hears or speaks is turned off, missing, not the model that was expected, or does not answer."""

    code = "speech_unavailable"


class SpeechFailed(Unavailable):
    """The model broke while it listened or spoke."""

    code = "speech_failed"
    status = 500


class OcrUnavailable(Unavailable):
    """What reads the text in pictures is missing, is not what was expected, or failed."""

    code = "ocr_unavailable"


class VectorsUnavailable(Unavailable):
    """The store that holds the vectors of memory does not answer."""

    code = "vectors_unavailable"


class TrackingUnavailable(Unavailable):
    """The MLflow server or its database does not answer."""

    code = "tracking_unavailable"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class DatabaseCorrupt(Unavailable):
    """The database file is damaged. It is left untouched."""

    code = "database_corrupt"
    status = 500


class StorageFull(Unavailable):
    """The disk takes no more."""

    code = "storage_full"
    status = 507
