"""Vector graphics of matplotlib as elements of a page: colors by class, no styles, identifiers with a prefix."""

import re
from xml.etree import ElementTree

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
INK = "#010101"
"""Stands for the color of text, which the page chooses."""
SERIES = ("#010102", "#010103", "#010104", "#010105", "#010106", "#010107")
"""Stand for the colors of lines."""
CLASSES = {INK: "ink", **{color: f"series{number}" for number, color in enumerate(SERIES)}}
KEPT = {
    *("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-dashoffset", "opacity", "fill-opacity"),
    *("stroke-opacity", "stroke-linejoin", "stroke-linecap", "text-anchor", "font-size", "stroke-miterlimit"),
}
"""Properties that are attributes of elements as well; a page may forbid styles, but not these."""


def inline_svg(text: str, name: str, label: str) -> str:
    """A document of matplotlib as an element for a page that allows no styles within elements.

    Args:
        text: the document, drawn with the colors of this file.
        name: prefix of identifiers, which are otherwise the same in all documents.
        label: description for readers of the screen.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        _convert(element, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-label": label, "class": "chart", "id": f"{name}-svg"}
    return ElementTree.tostring(root, encoding="unicode")


def _convert(element: ElementTree.Element, name: str) -> None:
    for key in [key for key in element.attrib if key.startswith(XLINK)]:
        element.attrib["href"] = element.attrib.pop(key)
    if "id" in element.attrib:
        element.attrib["id"] = f"{name}-{element.attrib['id']}"
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font" and (size := re.search(r"([\d.]+)px", value)):
            key, value = "font-size", size[1]
        if key in KEPT:
            element.attrib[key] = value
    for key, value in list(element.attrib.items()):
        if value.startswith("#") and key == "href":
            element.attrib[key] = f"#{name}-{value[1:]}"
        elif value.startswith("url(#"):
            element.attrib[key] = f"url(#{name}-{value[5:]}"
        elif value.lower() in CLASSES and key in ("fill", "stroke"):
            del element.attrib[key]
            element.attrib["class"] = f"{element.get('class', '')} {key}-{CLASSES[value.lower()]}".strip()
