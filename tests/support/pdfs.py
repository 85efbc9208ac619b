"""PDFs as tests need them: pages of text, or scanned ones, locked or not."""

from __future__ import annotations

from io import BytesIO

from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject


def written(*pages: str, password: str | None = None, owner_password: str = "owner", compress: bool = False) -> bytes:
    """Return a PDF whose pages hold these texts, line by line; an empty text is a page with a filled rectangle."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(width=595, height=842)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        shown = " T* ".join(f"({_escaped(line)}) Tj" for line in text.split("\n"))
        stream = DecodedStreamObject()
        drawn = f"BT /F1 11 Tf 14 TL 50 800 Td {shown} ET" if text else "0.5 g 50 50 400 400 re f"
        stream.set_data(drawn.encode("cp1252"))
        page[NameObject("/Contents")] = writer._add_object(stream.flate_encode() if compress else stream)
    if password is not None:
        writer.encrypt(password, owner_password, algorithm="RC4-128")
    file = BytesIO()
    writer.write(file)
    return file.getvalue()


def scanned(*pages: Image.Image | str, rotate: int = 0) -> bytes:
    """Return a PDF whose pages are pictures, or hold a text; those that are pictures are to be shown turned by `rotate`
    degrees clockwise."""
    writer = PdfWriter()
    for page in pages:
        if isinstance(page, str):
            writer.append(BytesIO(written(page)))
            continue
        file = BytesIO()
        page.rotate(rotate, expand=True).save(file, "PDF", resolution=150)
        writer.append(file)
        writer.pages[-1].rotation = rotate
    result = BytesIO()
    writer.write(result)
    return result.getvalue()


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
