"""Sampled requests as MLflow traces: one span for the request, one for each stage.

Knows the fields of a record's trace and MLflow's tracing client. They are written after the fact, so that no tracer
runs while anything is measured.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Span, TraceInfo

MAX_TRACES = 100
"""Requests of a sweep that are written at most: MLflow stores about 35 traces a second."""
_TYPES = {"embed": "EMBEDDING", "recall": "RETRIEVER", "remember": "MEMORY", "prefill": "LLM", "decode": "LLM"}
"""What MLflow calls some of the stages; the others are tasks."""


def log_traces(uri: str, experiment: str, runs: Mapping[int, str], lines: Sequence[Mapping[str, Any]]) -> None:
    """Write requests as traces of the run of their trial. A request written twice is one trace.

    `runs` are run ids by trial; requests of other trials are left out, and those beyond `MAX_TRACES`.
    """
    from mlflow.tracing.client import TracingClient

    client = TracingClient(uri)
    spans: list[Span] = []
    for line in lines[:MAX_TRACES]:
        if run := runs.get(line["trial"]):
            identity = sha256(f"{run} {line['id']}".encode()).digest()
            client.start_trace(_info(line, experiment, run, identity))
            spans += _spans(line, identity)
    if spans:
        client.log_spans(experiment, spans)


def _info(line: Mapping[str, Any], experiment: str, run: str, identity: bytes) -> TraceInfo:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    return TraceInfo(
        trace_id=_trace_id(identity),
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=round(_began(line) / 1e6),
        execution_duration=round(_seconds(line) * 1000),
        state=TraceState.OK if line["outcome"] == "ok" else TraceState.ERROR,
        request_preview=_short(line.get("prompt")),
        response_preview=_short(line.get("text")),
        client_request_id=f"{run[:8]}-{line['id']}",
        trace_metadata={"mlflow.sourceRun": run, "mlflow.trace.tokenUsage": json.dumps(_usage(line))},
        tags={"mlflow.traceName": "request", "jc1.trial": str(line["trial"]), "jc1.item": str(line["item"])},
    )


def _spans(line: Mapping[str, Any], identity: bytes) -> list[Span]:
    began, length = _began(line), round(_seconds(line) * 1e9)
    whole = {
        "mlflow.spanType": "CHAIN",
        "mlflow.spanInputs": line.get("prompt"),
        "mlflow.spanOutputs": line.get("text"),
        "mlflow.chat.tokenUsage": _usage(line),
        "mlflow.llm.model": line.get("model"),
        "engine": line.get("engine"),
        "outcome": line["outcome"],
        "finish_reason": line.get("finish_reason"),
        "speculation": line.get("speculation"),
    }
    spans = [_span(identity, 0, "request", began, length, line["outcome"], whole)]
    for number, stage in enumerate(line["spans"], 1):
        attributes: dict[str, Any] = {"mlflow.spanType": _TYPES.get(stage["stage"], "TASK")}
        if stage["stage"] == "recall":
            attributes["mlflow.spanOutputs"] = line.get("recalled") or []
        start = began + round(stage["start"] * 1e9)
        spans.append(_span(identity, number, stage["stage"], start, round(stage["seconds"] * 1e9), "ok", attributes))
    return spans


def _span(
    identity: bytes, number: int, name: str, start: int, length: int, outcome: str, fields: Mapping[str, Any]
) -> Span:
    """Return a span, its times in nanoseconds; span 0 is the request, and parent of the others."""
    from mlflow.entities import Span

    def span_id(of: int) -> str:
        return b64encode(sha256(identity + of.to_bytes(4, "big")).digest()[:8]).decode()

    attributes = {"mlflow.traceRequestId": _trace_id(identity), **fields}
    return Span.from_dict(
        {
            "trace_id": b64encode(identity[:16]).decode(),
            "span_id": span_id(number),
            "parent_span_id": span_id(0) if number else "",
            "name": name,
            "start_time_unix_nano": start,
            "end_time_unix_nano": start + length,
            "status": {"code": "STATUS_CODE_OK"}
            if outcome == "ok"
            else {"code": "STATUS_CODE_ERROR", "message": outcome},
            "attributes": {key: json.dumps(value) for key, value in attributes.items() if value is not None},
            "events": [],
        }
    )


def _trace_id(identity: bytes) -> str:
    return f"tr-{identity[:16].hex()}"


def _began(line: Mapping[str, Any]) -> int:
    """Return the nanoseconds from 1970 to the beginning of the request."""
    return round(datetime.fromisoformat(line["created"]).timestamp() * 1e9)


def _seconds(line: Mapping[str, Any]) -> float:
    ends: list[float] = [span["start"] + span["seconds"] for span in line["spans"]]
    return max([line.get("total") or 0.0, *ends])


def _usage(line: Mapping[str, Any]) -> dict[str, int]:
    usage = line["usage"]
    return {
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
    }


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= 1000 else f"{text[:999]}…"
