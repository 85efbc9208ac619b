"""Fetching of URLs: over real connections with real certificates, to a server whose name only the test resolves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from jc1.errors import AddressRefused, FetchFailed, InvalidRequest, RequestTooLarge
from jc1.fetch.addresses import networks
from jc1.fetch.fetcher import HOPS, Fetched, Fetcher
from jc1.settings import Settings
from tests.support.https_server import HOST, Respond, answer, certificate, redirect, serving

HERE = networks("127.0.0.1")
PUBLIC = "93.184.215.14"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def trusted(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator adds an authority of their own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))


class Names:
    """What resolves names: answers in turn, the last one for ever; and which names were asked for."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not addresses:
            raise OSError("no such name")
        return addresses


def fetcher(*answers: Sequence[str]) -> Fetcher:
    return Fetcher(on=True, allowed=HERE, resolve=Names(*(answers or (["127.0.0.1"],))))


async def get(url: str, through: Fetcher | None = None, *, max_bytes: int = 1000, seconds: float = 30.0) -> Fetched:
    return await (through or fetcher()).fetch(url, max_bytes=max_bytes, seconds=seconds, noun="picture")


async def test_what_a_url_leads_to_is_fetched_from_the_address_that_was_checked(pem: Path) -> None:
    async with serving({"/a.png?b=1": answer(b"pixels", content_type="Image/PNG; q=1")}, pem) as server:
        fetched = await get(server.url("/a.png?b=1"))
        ((_, headers),) = server.requests
    assert fetched == Fetched(b"pixels", "image/png")
    assert headers["host"] == f"{HOST}:{server.port}"
    assert not {"cookie", "authorization", "referer"} & headers.keys()


async def test_nothing_is_fetched_where_the_operator_has_not_turned_it_on(pem: Path) -> None:
    async with serving({"/": answer(b"")}, pem) as server:
        with pytest.raises(AddressRefused, match="fetch_urls"):
            await get(server.url("/"), Fetcher.from_settings(Settings()))
    assert server.connections == 0


async def test_a_name_is_resolved_once_so_that_it_cannot_mean_something_else_a_moment_later(pem: Path) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with serving({"/": answer(b"x")}, pem) as server:
        await get(server.url("/"), Fetcher(on=True, allowed=HERE, resolve=names))
    assert names.asked == [HOST]


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:7f00:2"], ["fe80::1%lo"], [PUBLIC, "192.168.0.1"], []],
)
async def test_a_host_is_refused_for_any_one_of_its_addresses_and_a_name_that_is_not_there_in_the_same_words(
    addresses: Sequence[str],
) -> None:
    with pytest.raises(AddressRefused, match=r"^The host 'pictures\.test' is none of the public internet: send"):
        await get(f"https://{HOST}/", fetcher(addresses))


async def test_a_redirect_is_checked_like_the_first_address(pem: Path) -> None:
    paths = {"/": redirect("/there"), "/there": redirect("https://inside.test/secret")}
    async with serving(paths, pem) as server:
        with pytest.raises(AddressRefused, match=r"'inside\.test'"):
            await get(server.url("/"), fetcher(["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"]))
        assert [path for path, _ in server.requests] == ["/", "/there"]


@pytest.mark.parametrize("to", ["http://pictures.test/", "file:///etc/passwd", "ftp://pictures.test/", "gopher://x/"])
async def test_a_redirect_to_another_scheme_is_refused(to: str, pem: Path) -> None:
    async with serving({"/": redirect(to)}, pem) as server:
        with pytest.raises(AddressRefused):
            await get(server.url("/"))


async def test_redirects_end(pem: Path) -> None:
    async with serving({"/": redirect("/")}, pem) as server:
        with pytest.raises(FetchFailed, match=f"more than {HOPS} times"):
            await get(server.url("/"))
        assert len(server.requests) == HOPS + 1


@pytest.mark.parametrize(
    "url",
    ["http://pictures.test/", "file:///etc/passwd", "//pictures.test/", "https://", "https:///x", "pictures.test", "",
     "https://a:b@pictures.test/", "https://pictures.test\\@other.test/", "https://pictures.test/a b",
     "https://pictures.test/\n", "https://pictures.test:0/", "https://pictures.test:70000/", "https://[::1", "\ud800",
     "https://0177.0.0.1/", "https://①②⑦.⓪.⓪.①/", "javascript:alert(1)"],
)  # fmt: skip
async def test_a_url_that_programs_read_differently_is_refused_before_a_name_is_resolved(url: str) -> None:
    names = Names([PUBLIC])
    with pytest.raises(AddressRefused):
        await get(url, Fetcher(on=True, resolve=names))
    assert names.asked == []


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "0x7f.1", "127.0.0.1", "localhost", "localhost.", "[::1]", "[::ffff:7f00:1]",
     "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "127.0.0.1.", "ⅼocalhost", "０x7f.1", "169.254.169.254", "a..b", "h%2e",
     "a" * 70 + ".com", "[fe80::1%25lo]"],
)  # fmt: skip
async def test_this_machine_is_refused_in_every_spelling_that_the_system_itself_resolves(host: str) -> None:
    with pytest.raises(AddressRefused):
        await get(f"https://{host}/", Fetcher(on=True))


async def test_the_certificate_has_to_be_the_hosts(pem: Path) -> None:
    async with serving({"/": answer(b"x")}, pem) as server:
        with pytest.raises(FetchFailed):
            await get(server.url("/", host="other.test"))
        assert server.requests == []


async def test_of_a_body_that_is_larger_than_it_may_be_no_more_is_read(pem: Path) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()

    async with serving({"/": endless, "/told": answer(bytes(1001)), "/fits": answer(bytes(1000))}, pem) as server:
        for path in ("/", "/told"):
            with pytest.raises(RequestTooLarge, match="more than 1,000 bytes"):
                await get(server.url(path))
        assert len((await get(server.url("/fits"))).data) == 1000


async def test_a_server_that_dribbles_is_given_up_when_the_time_is_over(pem: Path) -> None:
    async def dribble(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
        for _ in range(900):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving({"/": dribble}, pem) as server:
        with pytest.raises(FetchFailed, match="within 1 s"):
            await get(server.url("/"), seconds=1.0)


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (answer(b"no", "404 Not Found"), "answered 404"),
        (answer(b"", "204 No Content"), "answered 204"),
        (answer(b"x", content_encoding="gzip"), "compresses"),
        (answer(b"short", content_length="50"), "could not be fetched"),
        (answer(b"", "302 Found", location="https://[bad"), "could not be fetched"),
    ],
)
async def test_an_answer_that_is_no_picture_is_told_without_the_servers_own_words(
    respond: Respond, words: str, pem: Path
) -> None:
    async with serving({"/": respond}, pem) as server:
        with pytest.raises(InvalidRequest, match=words):
            await get(server.url("/"))


async def test_a_server_that_is_gone_is_told_and_a_second_address_is_tried(pem: Path) -> None:
    async with serving({"/": answer(b"x")}, pem) as server:
        both = Fetcher(on=True, allowed=networks("127.0.0.0/8"), resolve=Names(["127.0.0.9", "127.0.0.1"]))
        assert (await get(server.url("/"), both)).data == b"x"
    with pytest.raises(FetchFailed, match="could not be fetched"):
        await get(server.url("/"))


async def test_a_fetch_that_is_cancelled_lets_go_of_its_connection(pem: Path) -> None:
    begun = asyncio.Event()

    async def silent(writer: asyncio.StreamWriter) -> None:
        begun.set()
        await writer.wait_closed()

    async with serving({"/": silent}, pem) as server:
        fetching = asyncio.create_task(get(server.url("/")))
        await begun.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
