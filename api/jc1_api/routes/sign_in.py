"""`/sign-in` and `/sign-out`: a browser shows a key once and has a cookie after that.

Knows the form and the cookie. What the cookie holds, and when it is over, is `jc1.access.sign_in`'s.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from jc1.access.sign_in import SignIns
from jc1.errors import Unauthenticated
from jc1_api.deps import TheWorkbench
from jc1_api.middleware import SESSION_COOKIE, SIGN_IN
from jc1_api.routing import Router

router = Router(tags=["sign-in"])

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
ENDED = (
    "Your sign-in has ended: its time is over, or the key was revoked or replaced. What you wrote last was not sent."
)
_PAGE = Template(files("jc1_api").joinpath("assets/sign_in.html").read_text(encoding="utf-8"))


@router.get(SIGN_IN, include_in_schema=False)
async def show(workbench: TheWorkbench, ended: bool = False) -> Response:
    """Show the form; where there are no keys nobody has to sign in. `ended` says that the page was signed in before."""
    return _page(ENDED if ended else "") if await workbench.keys.exist() else RedirectResponse("/", 303)


@router.post(SIGN_IN, include_in_schema=False)
async def sign_in(request: Request, key: Annotated[str, Form()]) -> Response:
    """Leave a cookie with a browser that shows a good key."""
    sign_ins: SignIns = request.app.state.sign_ins
    try:
        shown, session = await sign_ins.begin(key.strip())
    except Unauthenticated as error:
        return _page(error.message, 401)
    if not shown.principal().may("chat"):
        return _page("This key may not chat: ask for one with the scope 'chat'.", 403)
    response = RedirectResponse("/", 303)
    # Lax: a link from elsewhere leads in. What else comes from elsewhere, the gate refuses by its origin.
    response.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=sign_ins.seconds,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out", include_in_schema=False)
async def sign_out() -> Response:
    """Take the cookie back."""
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax")
    return response


def _page(error: str = "", status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.substitute(error=escape(error)), status, HEADERS)
