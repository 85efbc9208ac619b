"""`/metrics`: the figures of `jc1.telemetry` as Prometheus reads them."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from jc1_api.deps import TheWorkbench, requires
from jc1_api.routing import Router

router = Router(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    dependencies=[requires("metrics")],
)
async def metrics(request: Request, workbench: TheWorkbench) -> Response:
    """Return counters, histograms and gauges; each help text ends with the query that reads it."""
    from prometheus_client.exposition import choose_encoder

    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(workbench.telemetry.registry), headers={"content-type": media_type})
